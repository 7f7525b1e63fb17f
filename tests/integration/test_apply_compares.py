"""After a move both servers are compared: what is missing is found and named, and done over it is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import migrator
from migrator.couch.leaf_writer import LeafWriter
from migrator.errors import ConfigError
from migrator.model import Outcome, Status
from migrator.model.revisions import Leaf
from migrator.server.move.copy import Copier
from migrator.server.move.plan import DatabasePlan, PlanError, ServerPlan
from tests import support
from tests.support import leaf_states, whole_server
from tests.support.commands import run
from tests.support.whole_server import Pair, url_of

pytestmark = pytest.mark.usefixtures("no_credentials")


@pytest.fixture
def names(pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Two databases of the source; the working folder is the test's own."""
    monkeypatch.chdir(tmp_path)
    names = whole_server.odd_names(pair.source_prefix, is_couchdb=pair.is_couchdb)[:4]
    whole_server.fill(pair.source, names, is_couchdb=pair.is_couchdb, documents=5)
    # The sandbox takes no second leaf beside a validation function, and ids of partitioned ones are others.
    for name in names[1:3]:
        support.request("DELETE", url_of(pair.source, name))
    return [names[0], names[3]]


def planned(pair: Pair, **options: Any) -> ServerPlan:
    """A plan made by the library."""
    return migrator.plan_server(
        pair.source,
        pair.target,
        **{
            "patterns": [f"{pair.source_prefix}*"],
            "map": {f"{pair.source_prefix}*": f"{pair.target_prefix}*"},
            "users": False,
            "probe": False,
            **options,
        },
    )


def sides(pair: Pair) -> dict[str, Any]:
    """The servers with credentials, which a plan does not hold."""
    return {"source": pair.source, "target": pair.target}


class Cheating(LeafWriter):
    """Says that it has written one leaf, and has not; writes another one with other content."""

    def write(self, leaves: Sequence[Leaf]) -> list[Outcome]:
        """Write the leaves but one."""
        kept = [leaf for leaf in leaves if (leaf.id, leaf.rev) != ("conflict", "2-c")]
        changed = [item._replace(body=item.body.replace(b'"n":3', b'"n":4')) for item in kept]
        outcomes = iter(super().write(changed))
        return [next(outcomes) if leaf in kept else Outcome(leaf.id, Status.WRITTEN) for leaf in leaves]


def test_a_leaf_that_is_missing_is_found(pair: Pair, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A conflict's losing side that did not come is named, exit code 4; done over it is there.

    A leaf of the same revision with another content is found where contents are read.
    """
    with monkeypatch.context() as patched:
        patched.setattr("migrator.server.move.copy.LeafWriter", Cheating)
        plan = planned(pair)
        applied = migrator.apply(plan, checkpoint="move.checkpoint", keep_checkpoint=True, **sides(pair))
    assert applied.totals.rejected == 0
    assert not applied.ok
    assert applied.verified is not None
    assert [found.missing for found in applied.verified.databases.values()] == [1, 1]
    assert applied.verified.databases[names[0]].named == ["'conflict' 2-c is missing"]
    again = migrator.apply(
        plan, checkpoint="move.checkpoint", restart=True, keep_checkpoint=True, verify="contents", **sides(pair)
    )
    assert again.totals.written == 2
    assert again.verified is not None
    assert [found.missing for found in again.verified.databases.values()] == [0, 0]
    assert [found.different for found in again.verified.databases.values()] == [1, 1]
    assert again.verified.databases[names[0]].named == ["'d00003' 2-b has another content"]
    assert not again.ok


def test_the_command_tells_what_is_missing(pair: Pair, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 4, the leaf by name, and what to type, which works."""
    arguments = ("--from", pair.source, "--to", pair.target, "--log-level", "warning")
    made = run("plan-server", *pair.arguments, "--no-users", "--no-probe", "--output", "plan.json")
    assert made.code == 0, made.output
    with monkeypatch.context() as patched:
        patched.setattr("migrator.server.move.copy.LeafWriter", Cheating)
        ran = run("apply", "plan.json", *arguments)
    assert ran.code == 4, ran.output
    assert f"{names[0]}: 'conflict' 2-c is missing" in ran.output
    again = run("apply", "plan.json", *arguments, "--restart")
    assert again.code == 0, again.output
    assert "nothing of" in again.output
    assert len(leaf_states.state(pair.target, pair.at_target(names[0]))) == len(
        leaf_states.state(pair.source, names[0])
    )


def test_settings_that_are_not_as_they_were_are_found(
    pair: Pair, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`_security`, `revs_limit`, and an index that did not come are each told."""
    security = Copier.security

    def meddled(self: Copier, plan: DatabasePlan) -> None:
        security(self, plan)
        url = url_of(pair.target, plan.target)
        support.request("PUT", f"{url}/_security", {"members": {"names": ["somebody"]}})
        if pair.is_couchdb:
            support.request("PUT", f"{url}/_revs_limit", 3)
            status, design = support.request("GET", f"{url}/_design/by")
            if status == 200:
                support.request("DELETE", f"{url}/_design/by?rev={design['_rev']}")

    monkeypatch.setattr(Copier, "security", meddled)
    applied = migrator.apply(planned(pair), **sides(pair))
    assert not applied.ok
    assert applied.verified is not None
    found = applied.verified.databases[names[0]].settings
    if pair.is_couchdb:
        assert "_security is not the source's" in found
        assert "revs_limit is 3, where the source has 1000" in found
        assert "_design/by has no index" in found
    else:
        # The sandbox has no revs_limit, and tells nothing of its indexes.
        assert found == ["_security is not the source's"]


def test_what_changes_after_the_move_is_no_difference(
    pair: Pair, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that is written to, and a target that is used already, miss nothing."""
    security = Copier.security

    def used(self: Copier, plan: DatabasePlan) -> None:
        security(self, plan)
        rev = support.get(f"{url_of(pair.target, plan.target)}/d00001")["_rev"]
        assert support.request("PUT", f"{url_of(pair.source, plan.source)}/late", {})[0] == 201
        assert support.request("PUT", f"{url_of(pair.target, plan.target)}/d00001?rev={rev}", {})[0] == 201

    monkeypatch.setattr(Copier, "security", used)
    applied = migrator.apply(planned(pair), **sides(pair))
    assert applied.ok, applied
    assert applied.verified is not None
    found = applied.verified.databases[names[0]]
    assert (found.missing, found.changed_since, found.extra) == (0, 1, 1)


def test_the_library_plans_and_applies(pair: Pair, names: list[str], tmp_path: Path) -> None:
    """`plan_server` and `apply` do what the commands do, with a plan or its file; every leaf is proven equal."""
    plan = planned(pair)
    assert plan.ok
    assert [database.attachments for database in plan.databases] == [3, 3]
    assert not list(tmp_path.iterdir())
    from migrator.server.move.plan import save_plan  # as users find it

    save_plan(plan, tmp_path / "plan.json")
    applied = migrator.apply(str(tmp_path / "plan.json"), verify="contents", **sides(pair))
    assert applied.ok, applied
    assert applied.verified is not None
    assert applied.verified.contents
    leaves = sum(len(leaf_states.state(pair.source, name)) for name in names)
    assert applied.totals.written == leaves
    assert sum(found.leaves for found in applied.verified.databases.values()) == leaves
    whole_server.assert_same(pair, names)
    # Without a checkpoint nobody knows that what stands there is this plan's.
    with pytest.raises(PlanError, match="is there at the target by now"):
        migrator.apply(plan, **sides(pair))
    with pytest.raises(ConfigError):
        migrator.plan_server(f"{pair.source}/{names[0].replace('/', '%2F')}", pair.target)
    left_out = migrator.apply(
        planned(pair, map={f"{pair.source_prefix}*": f"{pair.target_prefix}second_*"}), verify="no", **sides(pair)
    )
    assert left_out.ok
    assert left_out.verified is None
