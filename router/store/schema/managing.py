"""The tables of what is managed (codes, guardrails, workspaces, keys at providers, webhooks, charges), and of who changed what."""

from __future__ import annotations

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

#: with a key goes what was held for it (much of it in pieces: store/remains.py); history and money stay
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

#: what RAISE says where a key would lie nowhere
NOWHERE = "there is no such workspace"
_NOWHERE = f"""
    WHEN new.workspace_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM workspace WHERE id = new.workspace_id)
    BEGIN SELECT RAISE(ABORT, '{NOWHERE}'); END
"""  # noqa: S608 - our own words

#: a key lies in a workspace that there is, and a workspace in which something lies stays, whoever comes first
WORKSPACES = (
    "UPDATE key SET workspace_id = NULL WHERE deleted_unix IS NULL AND workspace_id NOT IN (SELECT id FROM workspace)",
    f"CREATE TRIGGER key_lies_somewhere BEFORE INSERT ON key {_NOWHERE}",
    f"CREATE TRIGGER key_moves_somewhere BEFORE UPDATE OF workspace_id ON key {_NOWHERE}",
    """
    CREATE TRIGGER workspace_is_empty BEFORE DELETE ON workspace
    WHEN EXISTS (SELECT 1 FROM key WHERE workspace_id = old.id AND deleted_unix IS NULL AND replaced_unix IS NULL)
        OR EXISTS (SELECT 1 FROM guardrail WHERE workspace_id = old.id)
    BEGIN SELECT RAISE(ABORT, 'something lies in this workspace'); END
    """,
)
