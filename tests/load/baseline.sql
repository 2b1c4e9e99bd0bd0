-- The baseline's own database has the ledger's tables. These are its members, and the function that
-- does one earning: it writes the rows that the ledger writes for one.

INSERT INTO head SELECT bucket, 0 FROM generate_series(0, 63) AS bucket;

INSERT INTO account
SELECT id % 64, id, 1, id, 1, false, 1, 2, sha256(id::text::bytea), now(), now(), now(), NULL
FROM generate_series(1, :members) AS id;

INSERT INTO balance
SELECT id % 64, id, 0, 5000, 0, 0, 0, 5000, 0, 0, 0, 0, 0, 0, 0, 0
FROM generate_series(1, :members) AS id;

INSERT INTO counter
SELECT id % 64, id, -1, 24312, array_fill(0::bigint, ARRAY[22])
FROM generate_series(1, :members) AS id;

CREATE FUNCTION earn(b integer, a bigint, request text, gift bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    place bigint;
    chained bytea;
    number bigint;
    change bigint;
    has bigint;
    owes bigint;
    moment timestamptz := clock_timestamp();
BEGIN
    SELECT sequence + 1, version + 1, sha256(digest) INTO number, change, chained
    FROM account WHERE bucket = b AND id = a FOR NO KEY UPDATE;
    UPDATE balance SET available = available + gift, earned = earned + gift
    WHERE bucket = b AND account = a AND currency = 0 RETURNING available, debt INTO has, owes;
    UPDATE counter SET days[22] = days[22] + gift
    WHERE bucket = b AND account = a AND counter = -1 AND month = 24312;
    UPDATE account SET version = change, sequence = number, digest = chained,
        record_time = moment, last_activity_time = moment
    WHERE bucket = b AND id = a;
    UPDATE head SET sequence = sequence + 1 WHERE bucket = b RETURNING sequence INTO place;
    INSERT INTO lot VALUES (
        b, a, number, gen_random_uuid(), 0, gift, gift, 0, false, moment, moment, NULL, 1, 0,
        true, place
    );
    INSERT INTO posting VALUES (
        b, place, a, 1, request, substr(chained, 1, 16), change, number, 1, moment, moment, 1,
        'bench', ''
    );
    INSERT INTO entry VALUES (
        b, a, number, place, 2, 0, gift, gift, 0, 0, 0, has, 0, 0, owes, gift, moment, moment,
        number, NULL, NULL, NULL, NULL, NULL, NULL, NULL, moment, NULL, 1, 0, chained
    );
    RETURN place;
END
$$;
