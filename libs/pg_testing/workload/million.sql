-- Makes a whole segment of the commit log old, so that it is removed.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE TEMPORARY TABLE burnt (i int) ON COMMIT PRESERVE ROWS;
DO $$ BEGIN FOR round IN 1..110 LOOP
    FOR i IN 1..10000 LOOP
        BEGIN INSERT INTO burnt VALUES (i); EXCEPTION WHEN OTHERS THEN NULL; END;
    END LOOP;
    COMMIT;
END LOOP; END $$;
SET vacuum_freeze_min_age = 0;
SET vacuum_multixact_freeze_min_age = 0;
UPDATE pg_database SET datallowconn = true WHERE datname = 'template0';
\c template0
VACUUM (FREEZE);
\c template1
VACUUM (FREEZE);
\c postgres
UPDATE pg_database SET datallowconn = false WHERE datname = 'template0';
VACUUM (FREEZE);
CHECKPOINT;
VACUUM (FREEZE);
