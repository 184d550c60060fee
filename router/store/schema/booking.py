"""The tables of keys, of their calls under way and ended, and of the ledger that these are booked in.

Settling is triggers: all that a call changes is changed in the transaction of its own row.
"""

from __future__ import annotations

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
