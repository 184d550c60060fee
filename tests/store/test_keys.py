"""Keys: their form, what is stored of them, and that a change holds at once, whoever makes it."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

import pytest

from router.errors import BadRequest, Conflict, NotFound
from router.identity import INFERENCE_SCOPES, MANAGEMENT_SCOPES
from router.store import Database, Keys, StoreError
from router.store.schema.managing import WORKSPACES
from router.testing import until


@pytest.fixture
async def keys(database: Database) -> Keys:
    """The keys of an empty database."""
    keys = Keys(database)
    await keys.load()
    return keys


async def test_the_form_of_a_key(keys: Keys) -> None:
    plain, identity = await keys.create("one")
    management, boss = await keys.create("two", management=True)

    assert re.fullmatch(r"sk-rt-v1-[A-Za-z0-9_-]{43}", plain)
    assert re.fullmatch(r"sk-rt-mgmt-v1-[A-Za-z0-9_-]{43}", management)
    assert identity.hash == hashlib.sha256(plain.encode()).hexdigest()
    assert identity.label == f"{plain[:12]}...{plain[-3:]}"
    assert identity.scopes == INFERENCE_SCOPES
    assert boss.scopes == MANAGEMENT_SCOPES
    assert "inference" not in boss.scopes


async def test_the_prefix_is_configurable(database: Database) -> None:
    keys = Keys(database, prefix="acme")
    await keys.load()
    assert (await keys.create("one"))[0].startswith("acme-v1-")


async def test_a_key_is_known_at_once_with_all_its_settings(keys: Keys) -> None:
    plain, made = await keys.create(
        "one",
        limit=5 * 10**12,
        limit_reset="daily",
        rpm=60,
        tpm=-1,
        tags=["a"],
        allowed_models=["gpt-*"],
        compat={"error_code": "number"},
    )

    assert keys.find(plain) == made
    assert await keys.show("one") == made
    assert keys.find(plain + "x") is None
    assert keys.find("") is None
    assert keys.find("\ud800") is None


async def test_no_key_is_in_the_file(keys: Keys, database: Database, path: Path) -> None:
    plain, _ = await keys.create("one")
    first = await keys.create("two", management=True)
    rotated, _ = await keys.rotate("one")
    await database.close()

    content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    for key in (plain, first[0], rotated):
        assert key.encode() not in content
        assert key.rpartition("-v1-")[2].encode() not in content


async def test_names_are_unique_among_live_keys(keys: Keys) -> None:
    await keys.create("one")
    with pytest.raises(Conflict, match="named 'one' already"):
        await keys.create("one")
    await keys.create("two")
    with pytest.raises(Conflict):
        await keys.update("two", name="one")

    await keys.delete("one")
    await keys.create("one")


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"limit": -1}, "limit"),
        ({"limit": 2**62}, "limit"),
        ({"limit_reset": "hourly"}, "limit_reset"),
        ({"rpm": -2}, "rpm"),
        ({"expires_unix": 1.0}, "expires_at"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_settings_that_make_no_sense_are_refused(keys: Keys, settings: dict[str, object], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        await keys.create(**{"name": "one", **settings})
    assert caught.value.param == param


async def test_a_key_is_found_by_hash_id_name_or_label(keys: Keys) -> None:
    _, identity = await keys.create("one")
    for reference in (identity.hash, identity.id, identity.name, identity.label):
        assert (await keys.show(reference)).id == identity.id
    with pytest.raises(NotFound, match="router keys list"):
        await keys.show("two")


async def test_disabling_deleting_and_changing_hold_at_once(keys: Keys) -> None:
    plain, identity = await keys.create("one")

    await keys.disable("one")
    assert (disabled := keys.find(plain)) is not None
    assert disabled.disabled
    assert await keys.list(include_disabled=False) == []
    await keys.disable("one", disabled=False)
    await keys.update("one", rpm=5)
    assert (changed := keys.find(plain)) is not None
    assert (changed.disabled, changed.rpm, changed.id) == (False, 5, identity.id)
    await keys.delete(identity.hash)
    assert keys.find(plain) is None
    with pytest.raises(NotFound):
        await keys.delete(identity.hash)


async def test_a_key_lies_in_a_workspace_that_there_is(keys: Keys) -> None:
    await keys.create("one", workspace_id="default")
    for change in (keys.create("two", workspace_id="ws_gone"), keys.update("one", workspace_id="ws_gone")):
        with pytest.raises(BadRequest, match="no workspace 'ws_gone' any more") as caught:
            await change
        assert caught.value.param == "workspace_id"
    assert [each.workspace_id for each in await keys.list()] == ["default"]


async def test_keys_that_lay_nowhere_lie_in_the_default_workspace(keys: Keys, database: Database) -> None:
    """As the step leaves them: earlier versions could make such keys."""
    _, identity = await keys.create("one")
    await database.write(("DROP TRIGGER key_moves_somewhere", ()))
    await keys.update("one", workspace_id="ws_gone")

    await database.write((WORKSPACES[0], ()))
    await keys.reload()

    assert (found := keys.get(identity.hash)) is not None
    assert found.workspace_id is None


async def test_a_rotated_key_keeps_all_but_its_secret(keys: Keys) -> None:
    old, before = await keys.create("one", rpm=7, limit=10**12)

    new, after = await keys.rotate("one")

    assert (after.id, after.name, after.rpm, after.limit) == (before.id, "one", 7, 10**12)
    assert keys.find(new) == after
    gone = keys.find(old)
    assert gone is not None
    assert gone.expires_unix is not None
    assert gone.expires_unix <= time.time()
    assert [each.hash for each in await keys.list()] == [after.hash]


async def test_a_rotated_key_may_hold_on_for_a_while(keys: Keys) -> None:
    old, _ = await keys.create("one")

    await keys.rotate("one", grace_s=60)

    held = keys.find(old)
    assert held is not None
    assert held.expires_unix is not None
    assert 50 < held.expires_unix - time.time() <= 60
    await keys.delete("one")
    assert keys.find(old) is None


async def test_rotation_prolongs_nothing(keys: Keys) -> None:
    soon = time.time() + 30
    old, _ = await keys.create("one", expires_unix=soon)
    new, _ = await keys.rotate("one", grace_s=3600)
    for key in (old, new):
        found = keys.find(key)
        assert found is not None
        assert found.expires_unix == soon


async def test_the_first_start_makes_two_keys_once(keys: Keys) -> None:
    first = await keys.create_first()

    assert first is not None
    management, inference = (keys.find(key) for key in first)
    assert management is not None
    assert inference is not None
    assert (management.management, inference.management) == (True, False)
    assert await keys.create_first() is None
    for identity in (management, inference):
        await keys.delete(identity.hash)
    assert await keys.create_first() is None  # somebody has deleted them: that is no first start


async def test_a_management_key_of_the_environment_is_never_stored(database: Database) -> None:
    secret = "an-unattended-set-up-of-forty-characters"
    keys = Keys(database, environment_key=secret)
    await keys.load()

    identity = keys.find(secret)
    assert identity is not None
    assert identity.management
    assert await keys.list() == []
    assert await database.all("SELECT * FROM key") == []


async def test_a_short_management_key_of_the_environment_is_refused(database: Database) -> None:
    with pytest.raises(StoreError, match="at least 32 characters"):
        Keys(database, environment_key="x" * 31)


async def test_a_change_by_another_process_is_seen_within_half_a_second(keys: Keys, path: Path) -> None:
    async with await Database.open(path) as other:
        theirs = Keys(other)
        await theirs.load()
        plain, _ = await theirs.create("theirs")
        await until(lambda: keys.find(plain) is not None)

        await theirs.disable("theirs")
        await until(lambda: (found := keys.find(plain)) is not None and found.disabled)

        await theirs.delete("theirs")
        await until(lambda: keys.find(plain) is None)


async def test_a_change_before_the_first_look_is_seen_too(database: Database, path: Path) -> None:
    async with await Database.open(path) as other:
        theirs = Keys(other)
        keys = Keys(database)
        await keys.load()
        plain, _ = await theirs.create("theirs")

    await until(lambda: keys.find(plain) is not None)


async def test_a_key_that_was_edited_into_nonsense_is_told(database: Database) -> None:
    keys = Keys(database)
    await keys.load()
    _, identity = await keys.create("one")
    await database.write(("UPDATE key SET scopes = '{}' WHERE hash = ?", (identity.hash,)))

    with pytest.raises(StoreError, match="is damaged"):
        await keys.reload()


async def test_ten_thousand_keys_are_read_page_by_page_and_changed_one_by_one(keys: Keys, database: Database) -> None:
    """A page, however far down, is a piece of an index; a change reads the changed key and no other."""
    await keys.create("one")
    await database.write(
        (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
            " INSERT INTO key (hash, id, name, label, management, scopes, disabled, include_byok_in_limit, tags, created_unix)"
            " SELECT 'hash' || i, 'key_' || i, 'name ' || i, 'label', 0, '[]', 0, 0, '[]', i FROM n",
            (),
        )
    )
    await keys.reload()

    page, seen = await keys.page(1000), 0
    while page.next is not None:
        seen += len(page.keys)
        page = await keys.page(1000, after=page.next)
    assert (seen + len(page.keys), page.total) == (10_001, 10_001)

    started = time.perf_counter()
    await keys.page(100, offset=9_000)
    await keys.update("hash5", rpm=1)
    assert time.perf_counter() - started < 0.5, "it takes 10 ms"
    assert (found := keys.get("hash5")) is not None
    assert found.rpm == 1


async def test_changes_on_the_command_line_are_on_record(keys: Keys, database: Database) -> None:
    _, first = await keys.create("one", limit=5)
    await keys.disable("one")
    _, second = await keys.rotate("one", grace_s=60)
    await keys.delete("one")

    rows = await database.all("SELECT actor, action, target FROM audit ORDER BY seq")

    assert {row[0] for row in rows} == {"command line"}
    assert [row[1:] for row in rows] == [
        ("key.create", first.hash),
        ("key.update", first.hash),
        ("key.rotate", second.hash),
        ("key.delete", second.hash),
    ]
