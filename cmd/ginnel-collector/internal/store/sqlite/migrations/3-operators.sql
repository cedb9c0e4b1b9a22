CREATE TABLE operator (
    name         TEXT PRIMARY KEY,
    organisation TEXT NOT NULL,             -- '': all
    serial       TEXT NOT NULL UNIQUE,      -- of the one certificate that counts, in hex
    added        INTEGER NOT NULL,
    expires      INTEGER NOT NULL,
    removed      INTEGER                    -- NULL: not yet
) STRICT;

-- Whose a network is. One that is not here is nobody's: only operators of all
-- organisations see it.
CREATE TABLE network (
    name         TEXT PRIMARY KEY,
    organisation TEXT NOT NULL
) STRICT;
