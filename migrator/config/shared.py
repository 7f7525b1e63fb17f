"""The options that many commands share: how a server is reached, who is notified of a run, and what is logged."""

from __future__ import annotations

from migrator.config.option import SECONDS, option, options_class

CONNECTION = "Connection"
WATCHING = "Monitoring"


@options_class
class Connection:
    """How a server is reached, and how long it may fail."""

    timeout_s: float = option(
        90.0, "Longest wait for the next byte of a server's response.", unit=SECONDS, group=CONNECTION
    )
    max_attempts: int = option(10, "Attempts per request.", unit="N", group=CONNECTION, at_least=1)
    max_outage_s: float = option(
        300.0, "Give up when no request has succeeded for this long.", unit=SECONDS, group=CONNECTION
    )
    ca_file: str = option(
        "", "PEM file of the authority that signed the server's certificate.", unit="FILE", group=CONNECTION
    )
    client_cert: str = option("", "PEM file of a client certificate.", unit="FILE", group=CONNECTION)
    client_key: str = option("", "PEM file of the client certificate's key.", unit="FILE", group=CONNECTION)

    @property
    def longest_silence_s(self) -> float:
        """How long an answer may stay away: not longer than an outage may last."""
        return min(self.timeout_s, self.max_outage_s)


@options_class
class Watch:
    """Who is told of a run that a timer starts."""

    metrics: str = option(
        "",
        "Write metrics of the run for Prometheus' textfile collector; the job is named after the file.",
        unit="FILE",
        group=WATCHING,
    )
    ping: str = option(
        "",
        "Notify a watchdog such as healthchecks.io: URL/start, then URL, or URL/fail with the exit code.",
        unit="URL",
        group=WATCHING,
    )


@options_class
class LogOptions:
    """What standard error shows."""

    log_format: str = option("text", "Format of standard error.", choices=("text", "json"))
    log_level: str = option("info", "Minimum log level.", choices=("debug", "info", "warning", "error"))
    quiet: bool = option(False, "No progress, and only warnings.", flag="-q --quiet")
