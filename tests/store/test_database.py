"""The one writer, and what happens when the disk, the file or another process gets in its way."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from router.generation import Generation
from router.store import Database, Generations, Migration, StoreError
from router.store.generations import RESERVATION
from router.store.schema import CORE
from router.testing import until


def row(id: str, **members: Any) -> Generation:
    """A settlement."""
    return Generation(
        id=id, created_unix=1_700_000_000.5, key_hash="k" * 64, model="a/b", provider="a", cost=7, **members
    )


def reservation(id: str) -> tuple[Any, ...]:
    """A reservation."""
    values = {"id": id, "created_unix": 1_700_000_000.5, "day": 19675, "streamed": False, "amount": 100}
    return tuple(values.get(name, "x") for name in RESERVATION)


def read(path: Path, query: str) -> list[tuple[Any, ...]]:
    """What another process sees."""
    connection = sqlite3.connect(path, timeout=5)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


async def pragma(database: Database, text: str) -> None:
    """Change the write connection only."""
    await database._writer._connection.execute_fetchall(f"PRAGMA {text}")


def spied(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that the writer runs from now on."""
    connection, statements = database._writer._connection, []
    execute = connection.execute_fetchall

    def spy(sql: str, parameters: Any = None) -> Any:
        statements.append(sql)
        return execute(sql, parameters)

    monkeypatch.setattr(connection, "execute_fetchall", spy)
    return statements


# --- writing ---------------------------------------------------------------------------------------------------------


async def test_a_settlement_is_on_disk_when_its_future_is_done(database: Database, path: Path) -> None:
    await Generations(database).add(row("gen-1"))

    assert read(path, "SELECT id, charge FROM generation") == [("gen-1", 7)]
    assert read(path, "SELECT id, amount FROM entry") == [("gen-1", -7)]
    assert read(path, "SELECT day, requests, charge FROM usage_day") == [(19675, 1, 7)]


async def test_what_comes_at_once_is_written_in_one_statement(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations = Generations(database)
    statements = spied(database, monkeypatch)

    await asyncio.gather(*(generations.add(row(f"gen-{number}")) for number in range(600)))

    assert [text.split(" (")[0] for text in statements] == ["INSERT INTO generation"] * 3
    assert read(path, "SELECT count(*), count(DISTINCT id) FROM generation") == [(600, 600)]


async def test_the_same_generation_counts_once(database: Database, path: Path) -> None:
    generations = Generations(database)

    await asyncio.gather(generations.add(row("gen-1")), generations.add(row("gen-1")))
    await generations.add(row("gen-1", status="error"))

    assert read(path, "SELECT id, status FROM generation") == [("gen-1", "ok")]
    assert read(path, "SELECT sum(amount), count(*) FROM entry") == [(-7, 1)]
    assert read(path, "SELECT sum(requests), sum(charge) FROM usage_day") == [(1, 7)]


async def test_nobody_who_gives_up_waiting_holds_up_the_row(database: Database, path: Path) -> None:
    generations = Generations(database)
    first = generations.add(row("gen-1"))
    first.cancel()

    second = generations.add(row("gen-1"))
    await second
    await generations.add(row("gen-1"))

    assert first.cancelled()
    assert read(path, "SELECT id FROM generation") == [("gen-1",)]


async def test_a_reservation_that_is_settled_at_once_is_never_written(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations = Generations(database)
    statements = spied(database, monkeypatch)

    generations.reserve(reservation("gen-1"))
    await generations.add(row("gen-1"))
    await asyncio.sleep(0.15)

    assert not [text for text in statements if text.startswith("INSERT INTO reservation")]


async def test_a_reservation_is_written_soon_and_goes_with_its_settlement(database: Database, path: Path) -> None:
    generations = Generations(database)
    began = time.monotonic()

    generations.reserve(reservation("gen-1"))
    await until(lambda: read(path, "SELECT id FROM reservation") == [("gen-1",)])
    waited = time.monotonic() - began
    await generations.add(row("gen-1"))

    assert waited < 2
    assert read(path, "SELECT id FROM reservation") == []


async def test_a_row_that_cannot_be_written_holds_up_nobody(database: Database, path: Path, caplog: Any) -> None:
    generations = Generations(database)
    rows = [row(f"gen-{number}") for number in range(40)]
    rows[7].upstream_id = "\ud800"
    rows[23].status = "no such status"

    results = await asyncio.gather(*(generations.add(each) for each in rows), return_exceptions=True)

    assert [number for number, result in enumerate(results) if isinstance(result, StoreError)] == [7, 23]
    assert read(path, "SELECT count(*) FROM generation") == [(38,)]
    assert "gen-7" in caplog.text
    assert "gen-23" in caplog.text


async def test_what_is_queued_at_the_end_is_written(path: Path) -> None:
    async with await Database.open(path) as database:
        generations = Generations(database)
        for number in range(300):
            generations.add(row(f"gen-{number}"))
        generations.reserve(reservation("gen-x"))

    assert read(path, "SELECT count(*) FROM generation") == [(300,)]
    assert read(path, "SELECT id FROM reservation") == [("gen-x",)]


async def test_a_transaction_is_all_or_nothing(database: Database, path: Path) -> None:
    insert = "INSERT INTO reservation VALUES (?, 0, 0, '', '', '', '', 0, '', 0)"

    with pytest.raises(sqlite3.IntegrityError):
        await database.write((insert, ("a",)), (insert, ("a",)))
    await database.write((insert, ("b",)))

    assert read(path, "SELECT id FROM reservation") == [("b",)]


async def test_an_entry_of_the_ledger_is_never_changed(database: Database) -> None:
    await Generations(database).add(row("gen-1"))

    for statement in ("UPDATE entry SET amount = 0", "DELETE FROM entry"):
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            await database.write((statement, ()))


# --- trouble ---------------------------------------------------------------------------------------------------------

TROUBLES = {
    "full disk": ("max_page_count = 1", "max_page_count = 1000000"),
    "read-only": ("query_only = ON", "query_only = OFF"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_rows_wait_out_a_disk_that_cannot_be_written(
    database: Database, path: Path, trouble: str, caplog: Any
) -> None:
    generations = Generations(database)
    begin, end = TROUBLES[trouble]
    await pragma(database, begin)

    waiting = [generations.add(row(f"gen-{number}", user="x" * 200)) for number in range(100)]
    await until(lambda: database.status() == "unwritable")
    assert generations.refusing
    assert not any(each.done() for each in waiting)

    await pragma(database, end)
    await asyncio.wait_for(asyncio.gather(*waiting), 5)

    assert database.status() == "ok"
    assert not generations.refusing
    assert read(path, "SELECT count(*) FROM generation") == [(100,)]
    assert caplog.text.count("cannot be written") == 1


async def test_a_lock_of_another_process_is_waited_out(database: Database, path: Path) -> None:
    generations = Generations(database)
    await pragma(database, "busy_timeout = 20")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    waiting = generations.add(row("gen-1"))
    await until(lambda: database.status() == "unwritable")
    other.execute("COMMIT")
    other.close()

    await asyncio.wait_for(waiting, 5)


async def test_a_short_transaction_is_refused_while_the_disk_is_full(database: Database) -> None:
    await pragma(database, "max_page_count = 1")
    with pytest.raises(StoreError, match="cannot be written"):
        await database.write(("CREATE TABLE large AS SELECT zeroblob(100000) AS data", ()))
    await pragma(database, "max_page_count = 1000000")
    await database.write(("CREATE TABLE large AS SELECT zeroblob(100000) AS data", ()))


async def test_too_much_that_waits_means_no_more_calls(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.store.writer.BACKLOG", 10)
    generations = Generations(database)

    waiting = [generations.add(row(f"gen-{number}")) for number in range(11)]
    assert generations.refusing
    await asyncio.gather(*waiting)

    assert not generations.refusing


async def test_reading_a_damaged_place_is_a_store_error(database: Database) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        await database.all("SELECT * FROM no_such_table")


async def open_and_close(path: Path, **options: Any) -> None:
    """Should it open after all, its threads end nevertheless."""
    async with await Database.open(path, **options):
        pass


# --- opening ---------------------------------------------------------------------------------------------------------


async def test_a_second_server_is_refused_but_not_the_command_line(database: Database, path: Path) -> None:
    with pytest.raises(StoreError, match=f"in use by another router .process {os.getpid()}."):
        await open_and_close(path, exclusive=True)
    async with await Database.open(path) as other:
        await Generations(other).add(row("gen-1"))


async def test_a_server_may_follow_one_that_was_killed(path: Path) -> None:
    script = (
        "import asyncio, sys, router.store as s\n"
        "async def main():\n"
        "    database = await s.Database.open(sys.argv[1], exclusive=True)\n"
        "    print('open', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"open\n"
            with pytest.raises(StoreError, match=f"process {process.pid}"):
                await open_and_close(path, exclusive=True)
        finally:
            process.kill()

    async with await Database.open(path, exclusive=True) as database:
        assert database.status() == "ok"


@pytest.mark.parametrize("content", [b"no database at all " * 500, b"SQLite format 3\0" + b"\xff" * 9000])
async def test_a_damaged_file_is_refused_and_kept(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(StoreError, match="damaged or no database") as caught:
        await open_and_close(path, exclusive=True)

    assert path.read_bytes() == content
    assert "\n" not in str(caught.value)


async def test_after_an_unclean_end_the_file_is_looked_through(path: Path) -> None:
    async with await Database.open(path, exclusive=True) as database:
        generations = Generations(database)
        await asyncio.gather(*(generations.add(row(f"gen-{number}", user="x" * 200)) for number in range(500)))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 8192] = b"\xab" * 8192
    path.write_bytes(content)

    async with await Database.open(path, exclusive=True):
        pass  # after a clean end nobody looks
    Path(f"{path}.lock").write_text("4711")
    with pytest.raises(StoreError, match="damaged"):
        await open_and_close(path, exclusive=True)
    with pytest.raises(StoreError, match="damaged"):
        await open_and_close(path, exclusive=True)  # and again: a refused start is no clean end


async def test_the_database_of_another_program_is_refused(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE cookies (name TEXT)")
    other.close()

    with pytest.raises(StoreError, match="another program"):
        await open_and_close(path)

    assert read(path, "SELECT name FROM sqlite_master") == [("cookies",)]


async def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    for exclusive in (True, False):
        with pytest.raises(StoreError, match="is the folder there"):
            await open_and_close(tmp_path / "nowhere" / "router.db", exclusive=exclusive)


async def test_every_thread_ends(path: Path) -> None:
    before = set(threading.enumerate())

    async with await Database.open(path):
        assert len(set(threading.enumerate()) - before) == 3
    await until(lambda: not set(threading.enumerate()) - before)

    path.write_bytes(b"damaged" * 2000)
    with pytest.raises(StoreError):
        await open_and_close(path)
    await until(lambda: not set(threading.enumerate()) - before)


# --- migrations ------------------------------------------------------------------------------------------------------


def step(number: int, statement: str, owner: str = "demo") -> Migration:
    """A migration of one statement."""

    async def apply(connection: Any) -> None:
        await connection.execute_fetchall(statement)

    return Migration(owner, number, apply)


FIRST = step(1, "CREATE TABLE demo_notes (text TEXT)")
SECOND = step(2, "ALTER TABLE demo_notes ADD COLUMN author TEXT")


async def test_each_owner_has_a_counter_of_its_own(path: Path) -> None:
    async with await Database.open(path, migrations=[FIRST, step(1, "CREATE TABLE other_x (a)", "other")]):
        pass
    async with await Database.open(path, migrations=[FIRST, SECOND]):
        pass

    done = read(path, "SELECT owner, max(number) FROM migration GROUP BY owner ORDER BY owner")
    assert done == [("core", len(CORE)), ("demo", 2), ("other", 1)]


async def test_the_file_is_copied_before_it_is_changed_but_not_when_it_is_made(path: Path) -> None:
    async with await Database.open(path, migrations=[FIRST]) as database:
        await Generations(database).add(row("gen-1"))
    assert not list(path.parent.glob("*.bak"))

    async with await Database.open(path, migrations=[FIRST, SECOND]):
        pass
    async with await Database.open(path, migrations=[FIRST, SECOND]):
        pass

    (copy,) = path.parent.glob("router.db.*.bak")
    assert read(copy, "SELECT id FROM generation") == [("gen-1",)]
    assert read(copy, "SELECT max(number) FROM migration WHERE owner = 'demo'") == [(1,)]


async def test_nobody_changes_the_schema_under_a_running_server(path: Path) -> None:
    async with await Database.open(path, exclusive=True):
        with pytest.raises(StoreError, match="in use by another router"):
            await open_and_close(path, migrations=[FIRST])
    async with await Database.open(path, migrations=[FIRST]):
        pass
    async with await Database.open(path, migrations=[FIRST], exclusive=True):
        pass


async def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    async with await Database.open(path, migrations=[FIRST]):
        pass

    with pytest.raises(StoreError, match="migration demo 3 failed, nothing was changed"):
        await open_and_close(path, migrations=[FIRST, SECOND, step(3, "DROP TABLE no_such_table")])

    assert read(path, "SELECT max(number) FROM migration WHERE owner = 'demo'") == [(1,)]
    assert [column[1] for column in read(path, "PRAGMA table_info(demo_notes)")] == ["text"]


async def test_a_newer_schema_is_refused(path: Path) -> None:
    async with await Database.open(path, migrations=[FIRST, SECOND]):
        pass

    with pytest.raises(StoreError, match="newer version"):
        await open_and_close(path, migrations=[FIRST])
    async with await Database.open(path):
        pass  # tables of a plugin that is not there now are left alone


async def test_numbers_without_gaps(path: Path) -> None:
    with pytest.raises(StoreError, match="expected number 1"):
        await open_and_close(path, migrations=[SECOND])
