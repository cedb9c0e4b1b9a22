-- Where an act came from, and what it changed. An id is also the place of an
-- act in its export.
ALTER TABLE audit ADD COLUMN origin TEXT NOT NULL DEFAULT '';  -- address; '': the collector itself, or before this version
ALTER TABLE audit ADD COLUMN was    TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN became TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_object ON audit (object, id);
CREATE INDEX audit_actor ON audit (actor, id);
