-- A token is for one gateway: a site may have several, each with a pack of its own.
ALTER TABLE token ADD COLUMN gateway TEXT NOT NULL DEFAULT '';
UPDATE token SET gateway = (SELECT gateway FROM site WHERE id = token.site);
