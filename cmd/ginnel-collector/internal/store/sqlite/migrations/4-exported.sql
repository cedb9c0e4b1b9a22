-- Up to which act each export of the log of acts has come.
CREATE TABLE exported (
    sink TEXT PRIMARY KEY,
    upto INTEGER NOT NULL
) STRICT;
