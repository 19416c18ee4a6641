-- A store of schema 1 with rows in each table, for both engines. `NOW` stands for the time of the
-- test in milliseconds, and `BYTES'00ff'` for a byte string in hexadecimal. Nothing is due, so that
-- a receiver that starts changes nothing.

INSERT INTO task (seq, submission_id, task_id, origin, client, request, callback_url, state, progress, source,
    results_digest, refusal, observations, shown, submitted_at, outcome_at, next_poll_at, polled_at, polls, empty_polls,
    missed_polls, vouched_at, claimed, claimed_at)
VALUES
    (1, '01890000-0000-7000-8000-000000000001', 'task-unified-1-first', 'submit', 'web',
        BYTES'7b226d6f64656c223a227a2d696d6167652d747572626f222c2270726f6d7074223a226120636174227d', 'http://app.internal/hook', 'completed', 100, 'callback',
        BYTES'abababababababababababababababababababababababababababababababab', NULL, 2, 1, NOW - 60000, NOW - 50000, NULL, NOW - 55000, 1, 0, 0, NOW - 60000, NULL, NULL),
    (2, '01890000-0000-7000-8000-000000000002', 'task-unified-2-second', 'submit', NULL,
        BYTES'7b226d6f64656c223a227a2d696d6167652d747572626f222c2270726f6d7074223a226120646f67227d', NULL, 'failed', 40, 'poll',
        NULL, NULL, 1, 0, NOW - 60000, NOW - 40000, NULL, NOW - 40000, 2, 0, 1, NOW - 60000, NULL, NULL),
    (3, '01890000-0000-7000-8000-000000000003', NULL, 'submit', 'batch',
        BYTES'7b226d6f64656c223a227a2d696d6167652d747572626f222c2270726f6d7074223a22612062697264227d', NULL, 'rejected', 0, NULL,
        NULL, BYTES'7b226572726f72223a7b22636f6465223a2271756f74615f6578636565646564227d7d', 0, NULL, NOW - 60000, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL),
    (4, '01890000-0000-7000-8000-000000000004', NULL, 'submit', 'batch', NULL, NULL, 'submit_unknown', 0, NULL,
        NULL, NULL, 0, NULL, NOW - 60000, NULL, NULL, NULL, 0, 0, 0, NULL, NULL, NULL),
    (5, '01890000-0000-7000-8000-000000000005', 'task-unified-5-fifth', 'standing', 'load', NULL, NULL, 'processing', 30,
        'callback', NULL, NULL, 1, 0, NOW - 60000, NULL, NOW + 1800000, NULL, 0, 0, 0, NULL, 'completed', NOW - 30000),
    (6, '01890000-0000-7000-8000-000000000006', 'task-unified-6-sixth', 'restored', NULL, NULL, NULL, 'unresolved', 0,
        'callback', NULL, NULL, 0, NULL, NOW - 60000, NULL, NULL, NOW - 40000, 9, 0, 3, NULL, NULL, NULL);

-- Enough rows that an upgrade takes a while.
INSERT INTO task (seq, submission_id, task_id, origin, state, progress, source, results_digest, observations, shown,
    submitted_at, outcome_at, polls, empty_polls, missed_polls)
WITH RECURSIVE n(i) AS (SELECT 101 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
SELECT i, CAST(10000000 + i AS TEXT) || '-0000-7000-8000-000000000000', 'task-many-' || i, 'standing', 'completed', 100,
    'callback', BYTES'abababababababababababababababababababababababababababababababab', 1, 0, NOW - 60000, NOW - 50000, 0, 0, 0 FROM n;

INSERT INTO observation (id, source, result, at, body)
VALUES
    (1024, 'submit', 'recorded', NOW - 60000, BYTES'7b226964223a227461736b2d756e69666965642d312d6669727374222c22737461747573223a2270656e64696e67227d'),
    (1025, 'callback', 'recorded', NOW - 50000,
        BYTES'7b226964223a227461736b2d756e69666965642d312d6669727374222c22737461747573223a22636f6d706c65746564222c22726573756c7473223a5b2268747470733a2f2f66696c65732e65766f6c696e6b2e61692f312e77656270225d7d'),
    (2048, 'poll', 'recorded', NOW - 40000,
        BYTES'7b226964223a227461736b2d756e69666965642d322d7365636f6e64222c22737461747573223a226661696c6564222c226572726f72223a7b22636f6465223a22636f6e74656e745f706f6c696379227d7d'),
    (5120, 'callback', 'recorded', NOW - 30000, BYTES'7b226964223a227461736b2d756e69666965642d352d6669667468222c22737461747573223a2270726f63657373696e67222c2270726f6772657373223a33307d');

INSERT INTO observation (id, source, result, at, body)
SELECT seq * 1024, 'callback', 'recorded', NOW - 50000,
    BYTES'7b226964223a227461736b2d6d616e79222c22737461747573223a22636f6d706c65746564222c22726573756c7473223a5b2268747470733a2f2f66696c65732e65766f6c696e6b2e61692f6d616e792e77656270225d7d'
FROM task WHERE seq > 100;

INSERT INTO event (seq, task_seq, type, source, observation, at)
VALUES
    (1, 1, 'task.submitted', 'submit', 0, NOW - 60000),
    (2, 1, 'task.completed', 'callback', 1, NOW - 50000),
    (3, 2, 'task.failed', 'poll', 0, NOW - 40000),
    (4, 6, 'task.unresolved', NULL, NULL, NOW - 40000);

INSERT INTO event (seq, task_seq, type, source, observation, at)
SELECT seq - 96, seq, 'task.completed', 'callback', 0, NOW - 50000 FROM task WHERE seq > 100;

INSERT INTO delivery (id, event_seq, task_seq, endpoint, url, state, attempts, due_at, holder, lease_until, last_status,
    last_error, made_at, ended_at)
VALUES
    (2048, 2, 1, 'http://app.internal:80', 'http://app.internal/hook', 'delivered', 1, NOW - 50000, NULL, NULL, 204, NULL,
        NOW - 50000, NOW - 49000),
    (2049, 2, 1, 'orders', NULL, 'pending', 3, NOW + 1800000, NULL, NULL, 503, 'answered 503', NOW - 50000, NULL),
    (3072, 3, 2, 'orders', NULL, 'dead', 10, NOW - 40000, NULL, NULL, NULL, 'connection refused', NOW - 40000, NOW - 10000);

INSERT INTO endpoint (name, disabled_at, reason) VALUES ('billing', NOW - 10000, 'answered 410 Gone');

INSERT INTO quarantine (subject, kind, source, task_id, repeats, first_at, last_at, replayed_at, replay_result, bytes,
    body_digest, reason, headers, body)
VALUES
    ('01890000-0000-7000-8000-000000000001', 'conflict', 'callback', 'task-unified-1-first', 2, NOW - 30000, NOW - 20000,
        NULL, NULL, 40, BYTES'abababababababababababababababababababababababababababababababab', 'another outcome', '[]',
        BYTES'7b226964223a227461736b2d756e69666965642d312d6669727374222c22737461747573223a226661696c6564227d'),
    ('~load', 'unreadable', 'callback', NULL, 0, NOW - 30000, NOW - 30000, NULL, NULL, 9, BYTES'abababababababababababababababababababababababababababababababab', 'not JSON', '[]',
        BYTES'6e6f74204a534f4e21');

INSERT INTO submit_end (task_seq, result, at) VALUES (3, 'refused', NOW - 59000), (4, 'unknown', NOW - 58000);

INSERT INTO idempotency (name, fingerprint, submission_id, made_at)
VALUES ('web/0123456789abcdef', BYTES'abababababababababababababababababababababababababababababababab', '01890000-0000-7000-8000-000000000001', NOW - 60000);
