-- How long a preview lives, whether it sleeps, and its place among those there may be at once.

ALTER TABLE environments ADD COLUMN active_at BIGINT NOT NULL DEFAULT 0;
-- Seconds.
ALTER TABLE environments ADD COLUMN ttl BIGINT NOT NULL DEFAULT 604800;
ALTER TABLE environments ADD COLUMN sleep_after BIGINT;
ALTER TABLE environments ADD COLUMN kept_until BIGINT;
ALTER TABLE environments ADD COLUMN pinned BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE environments ADD COLUMN asleep_since BIGINT;
ALTER TABLE environments ADD COLUMN warned_at BIGINT;
-- JSON.
ALTER TABLE environments ADD COLUMN approval TEXT;
ALTER TABLE environments ADD COLUMN said TEXT;
ALTER TABLE environments ADD COLUMN place TEXT CHECK (place IN ('taken', 'waiting'));
ALTER TABLE environments ADD COLUMN place_since BIGINT;
-- When it last gave its place back.
ALTER TABLE environments ADD COLUMN freed_at BIGINT;

UPDATE environments SET active_at = updated_at;
UPDATE environments SET place = 'taken', place_since = updated_at
WHERE receipt IS NULL AND (live_sha IS NOT NULL OR deployment IS NOT NULL);

CREATE INDEX environments_place ON environments (place, place_since) WHERE place IS NOT NULL;
CREATE INDEX environments_freed ON environments (freed_at) WHERE freed_at IS NOT NULL;
