-- Uses up the transaction ids of more than a segment of the commit log.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE TEMPORARY TABLE burnt (i int) ON COMMIT PRESERVE ROWS;
DO $$ BEGIN FOR round IN 1..110 LOOP
    FOR i IN 1..10000 LOOP
        BEGIN INSERT INTO burnt VALUES (i); EXCEPTION WHEN OTHERS THEN NULL; END;
    END LOOP;
    COMMIT;
END LOOP; END $$;
