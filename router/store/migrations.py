"""The schema, as numbered steps. Core's are listed here; plugins bring their own, each owner with a counter of its own.

A step that has been released is never edited: the next one changes what it made. Money is integer picodollars, `*_unix` are seconds,
days are UTC days since 1970-01-01.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import NamedTuple

import aiosqlite

from .errors import StoreError
from .lock import ServerLock

log = logging.getLogger(__name__)


class Migration(NamedTuple):
    """Step `number` (from 1, without gaps) of `owner` ("core", or a plugin's name, which its tables begin with).

    `apply` runs inside a transaction on the write connection; it must not commit.
    """

    owner: str
    number: int
    apply: Callable[[aiosqlite.Connection], Awaitable[None]]


async def migrate(connection: aiosqlite.Connection, path: Path, wanted: Iterable[Migration], *, alone: bool) -> None:
    """Bring the file to the newest schema, after a copy of it where there is something to lose. Raises StoreError.

    `alone`: the caller holds the server's lock. Else it is taken for a change of an existing file, since a running server
    knows only the schema that it found.
    """
    steps = in_order([*CORE, *wanted])
    done = await _done(connection)
    pending = _pending(steps, done)
    if not pending:
        return
    with nullcontext() if alone or not done else closing(ServerLock(path)):
        if done:
            await _copy(connection, path)
        await _apply(connection, path, steps)
    for step in pending if done else ():
        log.info("migrated the database: %s %s", step.owner, step.number)


async def _apply(connection: aiosqlite.Connection, path: Path, steps: Sequence[Migration]) -> None:
    await connection.execute_fetchall("BEGIN IMMEDIATE")
    # Another process may have been faster.
    pending = _pending(steps, await _done(connection))
    step = None
    try:
        for step in pending:
            await step.apply(connection)
            await connection.execute_fetchall(
                "INSERT INTO migration (owner, number, applied_unix) VALUES (?, ?, ?)",
                (step.owner, step.number, time.time()),
            )
        await connection.execute_fetchall("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            await connection.execute_fetchall("ROLLBACK")
        at = f"migration {step.owner} {step.number}" if step is not None else "the migration"
        raise StoreError(f"{path}: {at} failed, nothing was changed: {error}") from error


def in_order(steps: Sequence[Migration]) -> list[Migration]:
    """Core first, then the others in the order given. Raises StoreError where an owner's numbers have gaps."""
    counters: dict[str, int] = {}
    for step in steps:
        counters[step.owner] = counters.get(step.owner, 0) + 1
        if step.number != counters[step.owner]:
            raise StoreError(f"migration {step.owner} {step.number}: expected number {counters[step.owner]}")
    return list(steps)


def _pending(steps: Sequence[Migration], done: dict[str, int]) -> list[Migration]:
    newest = {step.owner: step.number for step in steps}
    for owner, number in done.items():
        # Tables of a plugin that is not there now are left alone.
        if owner in newest and number > newest[owner]:
            raise StoreError(
                f"the database was made by a newer version ({owner} {number}, this one knows {newest[owner]}): "
                "update, or restore the copy made before the migration"
            )
    return [step for step in steps if step.number > done.get(step.owner, 0)]


async def _done(connection: aiosqlite.Connection) -> dict[str, int]:
    """The newest step of each owner. Raises StoreError where the tables are not ours."""
    tables = {
        row[0] for row in await connection.execute_fetchall("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    if not tables:
        return {}
    if "migration" not in tables:
        raise StoreError("this is the database of another program; set server.database to a file of our own")
    return {
        row[0]: row[1]
        for row in await connection.execute_fetchall("SELECT owner, max(number) FROM migration GROUP BY 1")
    }


async def _copy(connection: aiosqlite.Connection, path: Path) -> None:
    target = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.bak")
    try:
        await connection.execute_fetchall("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot make the copy {target.name} before the migration ({error})") from error
    log.info("copied the database to %s before its migration", target)


# --- core's steps ----------------------------------------------------------------------------------------------------


def runs(statements: Sequence[str]) -> Callable[[aiosqlite.Connection], Awaitable[None]]:
    """What a step does that is statements only."""

    async def apply(connection: aiosqlite.Connection) -> None:
        for statement in statements:
            await connection.execute_fetchall(statement)

    return apply


FIRST = (
    """
    CREATE TABLE migration (
        owner TEXT NOT NULL,
        number INTEGER NOT NULL,
        applied_unix REAL NOT NULL,
        PRIMARY KEY (owner, number)
    ) WITHOUT ROWID
    """,
    # A key that was rotated leaves its old hash behind as a row with `replaced_unix`, valid until `expires_unix`; `id` stays.
    """
    CREATE TABLE key (
        hash TEXT NOT NULL PRIMARY KEY,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        label TEXT NOT NULL,
        management INTEGER NOT NULL DEFAULT 0,
        scopes TEXT,
        disabled INTEGER NOT NULL DEFAULT 0,
        expires_unix REAL,
        "limit" INTEGER CHECK ("limit" >= 0),
        limit_reset TEXT CHECK (limit_reset IN ('daily', 'weekly', 'monthly')),
        include_byok_in_limit INTEGER NOT NULL DEFAULT 0,
        rpm INTEGER,
        tpm INTEGER,
        rpd INTEGER,
        max_parallel INTEGER,
        allowed_providers TEXT,
        allowed_models TEXT,
        allowed_endpoints TEXT,
        tags TEXT,
        default_model TEXT,
        compat TEXT,
        guardrail_id TEXT,
        workspace_id TEXT,
        created_unix REAL NOT NULL,
        updated_unix REAL,
        replaced_unix REAL,
        deleted_unix REAL
    )
    """,
    "CREATE UNIQUE INDEX key_name ON key (name) WHERE deleted_unix IS NULL AND replaced_unix IS NULL",
    "CREATE INDEX key_id ON key (id)",
    # Calls under way: what a crash leaves here is recorded as interrupted.
    """
    CREATE TABLE reservation (
        id TEXT NOT NULL PRIMARY KEY,
        created_unix REAL NOT NULL,
        day INTEGER NOT NULL,
        key_hash TEXT NOT NULL,
        model TEXT NOT NULL,
        requested_model TEXT NOT NULL,
        api_type TEXT NOT NULL,
        streamed INTEGER NOT NULL,
        request_id TEXT NOT NULL,
        amount INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    # One row per call that was admitted and has ended; `detail` is JSON of the members that no query asks for.
    """
    CREATE TABLE generation (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        created_unix REAL NOT NULL,
        day INTEGER NOT NULL,
        key_hash TEXT NOT NULL,
        request_id TEXT NOT NULL DEFAULT '',
        api_type TEXT NOT NULL DEFAULT '',
        model TEXT NOT NULL DEFAULT '',
        requested_model TEXT NOT NULL DEFAULT '',
        provider TEXT NOT NULL DEFAULT '',
        status TEXT NOT NULL CHECK (status IN ('ok', 'error', 'cancelled', 'interrupted')),
        http_status INTEGER NOT NULL DEFAULT 200,
        error_code TEXT,
        streamed INTEGER NOT NULL DEFAULT 0,
        finish_reason TEXT,
        upstream_id TEXT NOT NULL DEFAULT '',
        charge INTEGER CHECK (charge >= 0),
        list_cost INTEGER,
        is_byok INTEGER NOT NULL DEFAULT 0,
        estimated INTEGER NOT NULL DEFAULT 0,
        input INTEGER NOT NULL DEFAULT 0,
        output INTEGER NOT NULL DEFAULT 0,
        reasoning INTEGER NOT NULL DEFAULT 0,
        cached INTEGER NOT NULL DEFAULT 0,
        latency_ms INTEGER NOT NULL DEFAULT 0,
        generation_ms INTEGER NOT NULL DEFAULT 0,
        session_id TEXT,
        trace_id TEXT,
        user TEXT,
        app_title TEXT,
        detail TEXT
    )
    """,
    "CREATE INDEX generation_upstream ON generation (upstream_id) WHERE upstream_id <> ''",
    # The ledger proper: append-only, double entry. A call's entry has the generation's id; amounts are seen from `account`.
    """
    CREATE TABLE entry (
        id TEXT NOT NULL PRIMARY KEY,
        created_unix REAL NOT NULL,
        type TEXT NOT NULL CHECK (type IN ('usage', 'credit', 'refund', 'adjustment')),
        account TEXT NOT NULL,
        counter_account TEXT NOT NULL,
        amount INTEGER NOT NULL,
        key_hash TEXT,
        description TEXT
    ) WITHOUT ROWID
    """,
    """
    CREATE TRIGGER entry_stays BEFORE UPDATE ON entry
    BEGIN SELECT RAISE(ABORT, 'an entry of the ledger is never changed'); END
    """,
    """
    CREATE TRIGGER entry_remains BEFORE DELETE ON entry
    BEGIN SELECT RAISE(ABORT, 'an entry of the ledger is never deleted'); END
    """,
    # What limits and statistics read instead of a million generations.
    """
    CREATE TABLE usage_day (
        day INTEGER NOT NULL,
        key_hash TEXT NOT NULL,
        model TEXT NOT NULL,
        provider TEXT NOT NULL,
        requests INTEGER NOT NULL,
        errors INTEGER NOT NULL,
        input INTEGER NOT NULL,
        output INTEGER NOT NULL,
        reasoning INTEGER NOT NULL,
        cached INTEGER NOT NULL,
        charge INTEGER NOT NULL,
        byok INTEGER NOT NULL,
        last_unix REAL NOT NULL,
        PRIMARY KEY (day, key_hash, model, provider)
    ) WITHOUT ROWID
    """,
    # Everything that a settlement does, in the transaction of its own insert.
    """
    CREATE TRIGGER generation_settles AFTER INSERT ON generation
    BEGIN
        DELETE FROM reservation WHERE id = new.id;
        INSERT INTO entry (id, created_unix, type, account, counter_account, amount, key_hash)
        SELECT new.id, new.created_unix, 'usage', 'balance', 'usage', -new.charge, new.key_hash WHERE new.charge > 0;
        INSERT INTO usage_day VALUES (
            new.day, new.key_hash, new.model, new.provider, 1, new.status = 'error', new.input, new.output, new.reasoning,
            new.cached, coalesce(new.charge, 0), CASE WHEN new.is_byok THEN coalesce(new.list_cost, 0) ELSE 0 END, new.created_unix
        )
        ON CONFLICT (day, key_hash, model, provider) DO UPDATE SET
            requests = requests + 1,
            errors = errors + excluded.errors,
            input = input + excluded.input,
            output = output + excluded.output,
            reasoning = reasoning + excluded.reasoning,
            cached = cached + excluded.cached,
            charge = charge + excluded.charge,
            byok = byok + excluded.byok,
            last_unix = max(last_unix, excluded.last_unix);
    END
    """,
)

#: what was changed by hand (store/audit.py)
AUDIT = (
    """
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        created_unix REAL NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        target TEXT NOT NULL,
        request_id TEXT NOT NULL DEFAULT '',
        trace_id TEXT,
        detail TEXT NOT NULL DEFAULT '{}'
    )
    """,
    """
    CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'what was recorded is never changed'); END
    """,
)

#: keys by page, words of their own, and codes that are exchanged for keys (store/codes.py)
KEYS = (
    "ALTER TABLE key ADD COLUMN own_label TEXT",
    "ALTER TABLE key ADD COLUMN creator_user_id TEXT",
    "CREATE INDEX key_created ON key (created_unix) WHERE deleted_unix IS NULL AND replaced_unix IS NULL",
    """
    CREATE TABLE code (
        hash TEXT NOT NULL PRIMARY KEY,
        created_unix REAL NOT NULL,
        expires_unix REAL NOT NULL,
        challenge TEXT,
        method TEXT,
        granted_by TEXT NOT NULL,
        settings TEXT NOT NULL,
        used_unix REAL
    ) WITHOUT ROWID
    """,
)

#: the entries of the ledger in order, each with the balance that it led to, and their sums by day
LEDGER = (
    "DROP TRIGGER generation_settles",
    "ALTER TABLE entry RENAME TO entry_before",
    # Seen from `account`; `counter_account` is the other side. A usage entry has the id of its generation, `generation_id` is what a
    # refund gives back. `previous` is the usage entry before it of the same row of `usage_day`, whose `last_seq` is the newest: so the
    # entries of a key are found in order without an index over all keys, which costs each call twice what all the rest of this costs.
    """
    CREATE TABLE entry (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        created_unix REAL NOT NULL,
        day INTEGER NOT NULL,
        type TEXT NOT NULL CHECK (type IN ('usage', 'credit', 'refund', 'adjustment')),
        account TEXT NOT NULL,
        counter_account TEXT NOT NULL,
        amount INTEGER NOT NULL CHECK (type = 'adjustment' OR (amount < 0) = (type = 'usage')),
        balance_after INTEGER NOT NULL,
        key_hash TEXT,
        previous INTEGER,
        description TEXT,
        generation_id TEXT,
        idempotency_key TEXT
    )
    """,
    """
    INSERT INTO entry (seq, id, created_unix, day, type, account, counter_account, amount, balance_after, key_hash, previous,
        description)
    WITH ordered AS (SELECT row_number() OVER (ORDER BY created_unix, id) AS seq, * FROM entry_before)
    SELECT ordered.seq, ordered.id, ordered.created_unix, CAST(ordered.created_unix / 86400 AS INTEGER), type, account, counter_account,
        amount, sum(amount) OVER (ORDER BY ordered.seq), ordered.key_hash,
        CASE WHEN generation.id IS NOT NULL THEN lag(ordered.seq) OVER (
            PARTITION BY generation.day, generation.key_hash, generation.model, generation.provider ORDER BY ordered.seq
        ) END,
        description
    FROM ordered LEFT JOIN generation ON generation.id = ordered.id ORDER BY ordered.seq
    """,
    "DROP TABLE entry_before",
    "CREATE INDEX entry_by_hand ON entry (type, seq) WHERE type <> 'usage'",
    "CREATE UNIQUE INDEX entry_idempotency ON entry (idempotency_key) WHERE idempotency_key IS NOT NULL",
    """
    CREATE TRIGGER entry_stays BEFORE UPDATE ON entry
    BEGIN SELECT RAISE(ABORT, 'an entry of the ledger is never changed'); END
    """,
    """
    CREATE TRIGGER entry_remains BEFORE DELETE ON entry
    BEGIN SELECT RAISE(ABORT, 'an entry of the ledger is never deleted'); END
    """,
    # `usage` entries of a day and their sum, and which of the ledger's rows to look among.
    """
    CREATE TABLE entry_day (
        day INTEGER PRIMARY KEY,
        usage INTEGER NOT NULL,
        charge INTEGER NOT NULL,
        first_seq INTEGER NOT NULL,
        last_seq INTEGER NOT NULL
    )
    """,
    """
    INSERT INTO entry_day
    SELECT day, sum(type = 'usage'), -sum(CASE WHEN type = 'usage' THEN amount ELSE 0 END), min(seq), max(seq)
    FROM entry GROUP BY day
    """,
    """
    CREATE TRIGGER entry_counts AFTER INSERT ON entry
    BEGIN
        INSERT INTO entry_day VALUES (
            new.day, new.type = 'usage', CASE WHEN new.type = 'usage' THEN -new.amount ELSE 0 END, new.seq, new.seq
        )
        ON CONFLICT (day) DO UPDATE SET
            usage = usage + excluded.usage, charge = charge + excluded.charge, last_seq = excluded.last_seq;
    END
    """,
    # How many of the requests were charged, and the entry of the newest of these.
    "ALTER TABLE usage_day ADD COLUMN charged INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE usage_day ADD COLUMN last_seq INTEGER",
    """
    INSERT INTO usage_day (day, key_hash, model, provider, requests, errors, input, output, reasoning, cached, charge, byok, last_unix,
        charged, last_seq)
    SELECT generation.day, generation.key_hash, model, provider, 0, 0, 0, 0, 0, 0, 0, 0, 0, count(*), max(entry.seq)
    FROM entry JOIN generation ON generation.id = entry.id WHERE type = 'usage' GROUP BY 1, 2, 3, 4
    ON CONFLICT (day, key_hash, model, provider) DO UPDATE SET charged = excluded.charged, last_seq = excluded.last_seq
    """,
    """
    CREATE TRIGGER generation_settles AFTER INSERT ON generation
    BEGIN
        DELETE FROM reservation WHERE id = new.id;
        INSERT INTO entry (id, created_unix, day, type, account, counter_account, amount, balance_after, key_hash, previous)
        SELECT new.id, new.created_unix, new.day, 'usage', 'balance', 'usage', -new.charge,
            coalesce((SELECT balance_after FROM entry ORDER BY seq DESC LIMIT 1), 0) - new.charge, new.key_hash,
            (SELECT last_seq FROM usage_day
                WHERE day = new.day AND key_hash = new.key_hash AND model = new.model AND provider = new.provider)
        WHERE new.charge > 0;
        INSERT INTO usage_day (
            day, key_hash, model, provider, requests, errors, input, output, reasoning, cached, charge, byok, last_unix, charged,
            last_seq
        )
        VALUES (
            new.day, new.key_hash, new.model, new.provider, 1, new.status = 'error', new.input, new.output, new.reasoning,
            new.cached, coalesce(new.charge, 0), CASE WHEN new.is_byok THEN coalesce(new.list_cost, 0) ELSE 0 END, new.created_unix,
            coalesce(new.charge, 0) > 0, CASE WHEN new.charge > 0 THEN (SELECT max(seq) FROM entry) END
        )
        ON CONFLICT (day, key_hash, model, provider) DO UPDATE SET
            requests = requests + 1,
            errors = errors + excluded.errors,
            input = input + excluded.input,
            output = output + excluded.output,
            reasoning = reasoning + excluded.reasoning,
            cached = cached + excluded.cached,
            charge = charge + excluded.charge,
            byok = byok + excluded.byok,
            last_unix = max(last_unix, excluded.last_unix),
            charged = charged + excluded.charged,
            last_seq = coalesce(excluded.last_seq, last_seq);
    END
    """,
)

#: answers to requests that may come twice (store/idempotency.py)
IDEMPOTENCY = (
    """
    CREATE TABLE idempotency (
        owner TEXT NOT NULL,
        key TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        created_unix REAL NOT NULL,
        answer BLOB,
        PRIMARY KEY (owner, key)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX idempotency_created ON idempotency (created_unix)",
)

#: guardrails, whom they are assigned to (store/guardrails.py), and workspaces (store/workspaces.py)
GUARDRAILS = (
    """
    CREATE TABLE guardrail (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        workspace_id TEXT NOT NULL,
        created_unix REAL NOT NULL,
        description TEXT,
        updated_unix REAL,
        rules TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE guardrail_member (
        id TEXT NOT NULL,
        guardrail_id TEXT NOT NULL,
        created_unix REAL NOT NULL,
        assigned_by TEXT,
        user_id TEXT NOT NULL PRIMARY KEY
    ) WITHOUT ROWID
    """,
    # Whatever gives a key its guardrail (a change of the key too), the assignment is noted here.
    """
    CREATE TABLE guardrail_key (
        id TEXT NOT NULL,
        guardrail_id TEXT NOT NULL,
        created_unix REAL NOT NULL,
        assigned_by TEXT,
        key_id TEXT NOT NULL PRIMARY KEY
    ) WITHOUT ROWID
    """,
    """
    CREATE TRIGGER key_gets_guardrail AFTER UPDATE OF guardrail_id ON key WHEN new.guardrail_id IS NOT old.guardrail_id
    BEGIN
        DELETE FROM guardrail_key WHERE key_id = new.id;
        INSERT INTO guardrail_key
        SELECT 'gka_' || lower(hex(randomblob(10))), new.guardrail_id, coalesce(new.updated_unix, new.created_unix), NULL, new.id
        WHERE new.guardrail_id IS NOT NULL;
    END
    """,
    """
    CREATE TRIGGER key_has_guardrail AFTER INSERT ON key WHEN new.guardrail_id IS NOT NULL
    BEGIN
        INSERT INTO guardrail_key
        VALUES ('gka_' || lower(hex(randomblob(10))), new.guardrail_id, new.created_unix, NULL, new.id)
        ON CONFLICT (key_id) DO NOTHING;
    END
    """,
    """
    INSERT INTO guardrail_key
    SELECT 'gka_' || lower(hex(randomblob(10))), guardrail_id, min(created_unix), NULL, id
    FROM key WHERE guardrail_id IS NOT NULL GROUP BY id
    """,
    "CREATE INDEX guardrail_key_of ON guardrail_key (guardrail_id, created_unix)",
    "CREATE INDEX key_guardrail ON key (guardrail_id) WHERE guardrail_id IS NOT NULL",
    """
    CREATE TABLE workspace (
        id TEXT NOT NULL PRIMARY KEY,
        slug TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        created_unix REAL NOT NULL,
        description TEXT,
        updated_unix REAL,
        created_by TEXT,
        include_byok INTEGER NOT NULL DEFAULT 0,
        settings TEXT NOT NULL DEFAULT '{}'
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE workspace_budget (
        workspace_id TEXT NOT NULL,
        "interval" TEXT NOT NULL CHECK ("interval" IN ('daily', 'weekly', 'monthly', 'lifetime')),
        id TEXT NOT NULL,
        amount INTEGER NOT NULL CHECK (amount >= 0),
        created_unix REAL NOT NULL,
        updated_unix REAL NOT NULL,
        PRIMARY KEY (workspace_id, "interval")
    ) WITHOUT ROWID
    """,
    """
    INSERT INTO workspace (id, slug, name, created_unix)
    VALUES ('default', 'default', 'Default', CAST(strftime('%s', 'now') AS REAL))
    """,
    # Those that keys name already were free words before there were workspaces.
    """
    INSERT INTO workspace (id, slug, name, created_unix)
    SELECT workspace_id, workspace_id, workspace_id, min(created_unix) FROM key
    WHERE workspace_id IS NOT NULL AND workspace_id <> 'default' GROUP BY workspace_id
    """,
)

#: keys of clients at providers (store/byok.py); `sealed` opens only with `byok.key`, which is not here
BYOK = (
    """
    CREATE TABLE byok (
        id TEXT NOT NULL PRIMARY KEY,
        provider TEXT NOT NULL,
        name TEXT,
        label TEXT NOT NULL,
        sealed BLOB NOT NULL,
        version INTEGER NOT NULL DEFAULT 1,
        disabled INTEGER NOT NULL DEFAULT 0,
        is_fallback INTEGER NOT NULL DEFAULT 0,
        allowed_models TEXT,
        allowed_api_key_hashes TEXT,
        allowed_user_ids TEXT,
        sort_order INTEGER NOT NULL DEFAULT 0,
        workspace_id TEXT,
        created_unix REAL NOT NULL,
        updated_unix REAL NOT NULL
    ) WITHOUT ROWID
    """,
)

#: who is told of what happens, and what they have not been told yet (store/webhooks.py)
WEBHOOKS = (
    """
    CREATE TABLE webhook (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT,
        url TEXT NOT NULL,
        events TEXT NOT NULL,
        api_key_hashes TEXT,
        workspace_id TEXT,
        enabled INTEGER NOT NULL DEFAULT 1,
        disabled_reason TEXT,
        salt TEXT NOT NULL,
        failures INTEGER NOT NULL DEFAULT 0,
        retry_unix REAL NOT NULL DEFAULT 0,
        last_status INTEGER,
        last_error TEXT,
        last_unix REAL,
        created_unix REAL NOT NULL,
        updated_unix REAL NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE webhook_event (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        webhook_id TEXT NOT NULL,
        type TEXT NOT NULL,
        subject TEXT,
        data TEXT,
        created_unix REAL NOT NULL
    )
    """,
    "CREATE INDEX webhook_event_webhook ON webhook_event (webhook_id, seq)",
    # What was told last of each thing that has a state.
    "CREATE TABLE webhook_told (subject TEXT NOT NULL PRIMARY KEY, token TEXT NOT NULL) WITHOUT ROWID",
    # In the transaction that books the call: there is none without its event.
    """
    CREATE TRIGGER generation_tells AFTER INSERT ON generation WHEN EXISTS (SELECT 1 FROM webhook WHERE enabled = 1)
    BEGIN
        INSERT INTO webhook_event (id, webhook_id, type, subject, created_unix)
        SELECT 'evt_' || lower(hex(randomblob(12))), webhook.id,
            CASE new.status WHEN 'ok' THEN 'generation.completed' ELSE 'generation.failed' END, new.id, new.created_unix
        FROM webhook
        WHERE enabled = 1
            AND instr(events, CASE new.status WHEN 'ok' THEN '"generation.completed"' ELSE '"generation.failed"' END)
            AND (api_key_hashes IS NULL OR instr(api_key_hashes, '"' || new.key_hash || '"'));
    END
    """,
)

#: what is to be paid, or was (store/charges.py)
CHARGES = (
    """
    CREATE TABLE charge (
        service TEXT NOT NULL,
        id TEXT NOT NULL,
        code TEXT NOT NULL,
        amount INTEGER NOT NULL CHECK (amount > 0),
        made_by TEXT NOT NULL,
        created_unix REAL NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('open', 'paid', 'failed')),
        PRIMARY KEY (service, id)
    ) WITHOUT ROWID
    """,
)

#: with a key goes what was held for it (in the stores of plugins too, each by a trigger of its own); history and money stay
FORGOTTEN = (
    """
    CREATE TRIGGER key_is_forgotten AFTER UPDATE OF deleted_unix ON key WHEN new.deleted_unix IS NOT NULL
    BEGIN
        DELETE FROM code WHERE granted_by = new.hash AND used_unix IS NULL;
        DELETE FROM idempotency WHERE owner IN (new.id, new.hash);
        DELETE FROM guardrail_key WHERE key_id = new.id;
    END
    """,
    "DELETE FROM code WHERE used_unix IS NULL AND granted_by IN (SELECT hash FROM key WHERE deleted_unix IS NOT NULL)",
    "DELETE FROM idempotency WHERE owner IN (SELECT id FROM key WHERE deleted_unix IS NOT NULL)",
    "DELETE FROM guardrail_key WHERE key_id IN (SELECT id FROM key WHERE deleted_unix IS NOT NULL)",
)

#: which changes were made under which idempotency key, so that one whose answer a crash has lost is not made twice
CLAIMS = (
    "ALTER TABLE idempotency ADD COLUMN claim TEXT",
    "ALTER TABLE audit ADD COLUMN claim TEXT",
    "CREATE INDEX audit_claim ON audit (claim) WHERE claim IS NOT NULL",
)

#: webhooks of some keys hear of all secrets that these ever had, and those of a workspace of its keys only
WEBHOOKS_OF_KEYS = (
    "DROP TRIGGER generation_tells",
    """
    CREATE TRIGGER generation_tells AFTER INSERT ON generation WHEN EXISTS (SELECT 1 FROM webhook WHERE enabled = 1)
    BEGIN
        INSERT INTO webhook_event (id, webhook_id, type, subject, created_unix)
        SELECT 'evt_' || lower(hex(randomblob(12))), webhook.id,
            CASE new.status WHEN 'ok' THEN 'generation.completed' ELSE 'generation.failed' END, new.id, new.created_unix
        FROM webhook
        WHERE enabled = 1
            AND instr(events, CASE new.status WHEN 'ok' THEN '"generation.completed"' ELSE '"generation.failed"' END)
            AND (
                api_key_hashes IS NULL
                OR instr(api_key_hashes, '"' || new.key_hash || '"')
                OR EXISTS (
                    SELECT 1 FROM key AS caller JOIN key AS named ON named.id = caller.id
                    WHERE caller.hash = new.key_hash AND instr(webhook.api_key_hashes, '"' || named.hash || '"')
                )
            )
            AND (
                webhook.workspace_id IS NULL
                OR webhook.workspace_id
                    = coalesce((SELECT key.workspace_id FROM key WHERE key.hash = new.key_hash), 'default')
            );
    END
    """,
)

#: of a call that was charged: `previous` is looked up before the roll-up moves on. `INSERT … SELECT` from the table that is written
#: would make a table of its own for each call, which costs more than all the rest: hence VALUES, and a trigger for each kind of call
_CHARGED = """
        INSERT INTO entry (id, created_unix, day, type, account, counter_account, amount, balance_after, key_hash, previous)
        VALUES (
            new.id, new.created_unix, new.day, 'usage', 'balance', 'usage', -new.charge,
            coalesce((SELECT balance_after FROM entry ORDER BY seq DESC LIMIT 1), 0) - new.charge, new.key_hash,
            (SELECT last_seq FROM usage_day
                WHERE day = new.day AND key_hash = new.key_hash AND model = new.model AND provider = new.provider)
        );
"""
#: the entry that was made is the last row with a `rowid`: `usage_day` has none
_COUNTED = """
        INSERT INTO usage_day (
            day, key_hash, model, provider, requests, errors, input, output, reasoning, cached, charge, byok, last_unix, charged,
            last_seq
        )
        VALUES (
            new.day, new.key_hash, new.model, new.provider, 1, new.status = 'error', new.input, new.output, new.reasoning,
            new.cached, coalesce(new.charge, 0), CASE WHEN new.is_byok THEN coalesce(new.list_cost, 0) ELSE 0 END, new.created_unix,
            {charged}
        )
        ON CONFLICT (day, key_hash, model, provider) DO UPDATE SET
            requests = requests + 1,
            errors = errors + excluded.errors,
            input = input + excluded.input,
            output = output + excluded.output,
            reasoning = reasoning + excluded.reasoning,
            cached = cached + excluded.cached,
            charge = charge + excluded.charge,
            byok = byok + excluded.byok,
            last_unix = max(last_unix, excluded.last_unix),
            charged = charged + excluded.charged,
            last_seq = coalesce(excluded.last_seq, last_seq);
"""
_ADDED_TO_DAY = """
        ON CONFLICT (day) DO UPDATE SET
            usage = usage + excluded.usage, charge = charge + excluded.charge, last_seq = excluded.last_seq;
"""

#: what booking a call costs does not grow with the ledger, and is less
SETTLING = (
    # Ids of upstreams are random: an index over all of them costs a page of the file for each call. These are parts of it, one for
    # each 4096 rows (store/generations.py), of which only the newest is written.
    "DROP INDEX generation_upstream",
    "CREATE INDEX generation_upstream ON generation (seq / 4096, upstream_id) WHERE upstream_id <> ''",
    "DROP TRIGGER generation_settles",
    # The same table: `type IN (…)` in a CHECK made SQLite build a table of these four words for each row of a trigger, 10 µs.
    "ALTER TABLE entry RENAME TO entry_before",
    """
    CREATE TABLE entry (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        created_unix REAL NOT NULL,
        day INTEGER NOT NULL,
        type TEXT NOT NULL CHECK (type = 'usage' OR type = 'credit' OR type = 'refund' OR type = 'adjustment'),
        account TEXT NOT NULL,
        counter_account TEXT NOT NULL,
        amount INTEGER NOT NULL CHECK (type = 'adjustment' OR (amount < 0) = (type = 'usage')),
        balance_after INTEGER NOT NULL,
        key_hash TEXT,
        previous INTEGER,
        description TEXT,
        generation_id TEXT,
        idempotency_key TEXT
    )
    """,
    "INSERT INTO entry SELECT * FROM entry_before ORDER BY seq",
    "DROP TABLE entry_before",
    "CREATE INDEX entry_by_hand ON entry (type, seq) WHERE type <> 'usage'",
    "CREATE UNIQUE INDEX entry_idempotency ON entry (idempotency_key) WHERE idempotency_key IS NOT NULL",
    """
    CREATE TRIGGER entry_stays BEFORE UPDATE ON entry
    BEGIN SELECT RAISE(ABORT, 'an entry of the ledger is never changed'); END
    """,
    """
    CREATE TRIGGER entry_remains BEFORE DELETE ON entry
    BEGIN SELECT RAISE(ABORT, 'an entry of the ledger is never deleted'); END
    """,
    f"""
    CREATE TRIGGER generation_settles AFTER INSERT ON generation WHEN new.charge > 0
    BEGIN
        DELETE FROM reservation WHERE id = new.id;
        {_CHARGED}
        {_COUNTED.format(charged="1, last_insert_rowid()")}
        INSERT INTO entry_day VALUES (new.day, 1, new.charge, last_insert_rowid(), last_insert_rowid())
        {_ADDED_TO_DAY}
    END
    """,  # noqa: S608 - our own words
    f"""
    CREATE TRIGGER generation_settles_free AFTER INSERT ON generation WHEN coalesce(new.charge, 0) = 0
    BEGIN
        DELETE FROM reservation WHERE id = new.id;
        {_COUNTED.format(charged="0, NULL")}
    END
    """,  # noqa: S608 - our own words
    # What is booked by hand is counted where it is booked.
    f"""
    CREATE TRIGGER entry_counts AFTER INSERT ON entry WHEN new.type <> 'usage'
    BEGIN
        INSERT INTO entry_day VALUES (new.day, 0, 0, new.seq, new.seq)
        {_ADDED_TO_DAY}
    END
    """,  # noqa: S608 - our own words
)

CORE = [
    Migration("core", number, runs(statements))
    for number, statements in enumerate(
        (
            *(FIRST, AUDIT, KEYS, LEDGER, IDEMPOTENCY, GUARDRAILS, BYOK, WEBHOOKS, CHARGES, FORGOTTEN, CLAIMS),
            *(WEBHOOKS_OF_KEYS, SETTLING),
        ),
        1,
    )
]
