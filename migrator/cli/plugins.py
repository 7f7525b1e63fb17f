"""`migrator plugins`: what other distributions add."""

from __future__ import annotations

import click

from migrator.errors import ConfigError


@click.command()
def plugins() -> None:
    """List the extractors, transformers and loaders that installed distributions add.

    Each is imported to see that it can be; one that cannot is listed with the reason.

    \b
    Example:
      migrator plugins
    """
    from migrator import plugins as found
    from migrator.jobs.registry import own_words

    installed = found.installed()
    seen: dict[tuple[str, str], str] = {}
    for plugin in installed:
        note = ""
        other = seen.setdefault((plugin.group, plugin.word), plugin.distribution)
        if plugin.word in own_words(plugin.group):
            note = "not used: the word is migrator's own"
        elif other != plugin.distribution:
            note = f"not used: {other} registers it too"
        else:
            try:
                plugin.load()
            except ConfigError as error:
                note = f"broken: {error.message}"
        kind = found.GROUPS[plugin.group]
        line = f"{kind:<12} {plugin.word + ':':<16} {plugin.distribution} {plugin.version}  {plugin.target}"
        click.echo(f"{line}  {note}".rstrip())
    if not installed:
        click.echo("There are none; docs/plugins.md says how to write one.", err=True)
