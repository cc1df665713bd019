"""The database roles of a service: one that owns its tables, one that the service runs as.

The second has rights on rows only: it makes, changes and drops no table, and sees no other
service's schema. Partitions by time are made and dropped by functions with the owner's rights.
"""

from typing import Final

from alembic import op

OWNER: Final = "ebbwatch_{schema}_owner"
RUNTIME: Final = "ebbwatch_{schema}"

_LESS: Final = {
    "alembic_version": "SELECT",
    "erasure_key": "SELECT",
    "wish": "SELECT, INSERT, DELETE",
}
"""Tables in which the service changes fewer things than in all others."""

_ALL: Final = "SELECT, INSERT, UPDATE, DELETE"

_ROLES: Final = """
-- Roles of {schema}: run as an administrator of the database, before the first `migrate` and again
-- after each one. Then give both a password: ALTER ROLE {owner} PASSWORD '...'.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{owner}') THEN CREATE ROLE {owner}; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{runtime}') THEN
    CREATE ROLE {runtime};
  END IF;
END $$;
ALTER ROLE {owner} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE {runtime} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
CREATE SCHEMA IF NOT EXISTS {schema};
ALTER SCHEMA {schema} OWNER TO {owner};
DO $$ DECLARE each record; BEGIN
  FOR each IN SELECT c.oid::regclass AS name, c.relkind FROM pg_class c
               WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p', 'v') LOOP
    EXECUTE format('ALTER %s %s OWNER TO {owner}',
                   CASE each.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, each.name);
  END LOOP;
  FOR each IN SELECT p.oid::regprocedure AS name FROM pg_proc p
               WHERE p.pronamespace = '{schema}'::regnamespace LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO {owner}', each.name);
  END LOOP;
END $$;
REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;
GRANT USAGE ON SCHEMA {schema} TO {runtime};
REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {runtime};
GRANT {rights} ON ALL TABLES IN SCHEMA {schema} TO {runtime};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {runtime};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {runtime};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT {rights} ON TABLES TO {runtime};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT USAGE ON SEQUENCES TO {runtime};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}
  GRANT EXECUTE ON FUNCTIONS TO {runtime};
"""

_LESS_OF: Final = """
DO $$ BEGIN
  IF to_regclass('{table}') IS NOT NULL THEN
    REVOKE ALL ON {table} FROM {runtime};
    GRANT {rights} ON {table} TO {runtime};
  END IF;
END $$;
"""

_MAKE: Final = """
CREATE OR REPLACE FUNCTION {schema}.make_partition(
    parent name, key name, since timestamptz, until timestamptz
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  whole text := format('%I.%I', '{schema}', parent);
  rest text := format('%I.%I', '{schema}', parent || '_rest');
  part text := format('%I.%I', '{schema}', parent || '_' || to_char(since, 'YYYYMMDD'));
BEGIN
  EXECUTE format('LOCK TABLE ONLY %s IN EXCLUSIVE MODE', whole);
  EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL)', part, whole);
  EXECUTE format('WITH moved AS (DELETE FROM %s WHERE %I >= %L AND %I < %L RETURNING *) '
                 'INSERT INTO %s SELECT * FROM moved', rest, key, since, key, until, part);
  EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
                 whole, part, since, until);
END $$
"""

_DROP: Final = """
CREATE OR REPLACE FUNCTION {schema}.drop_partition(parent name, part name, before timestamptz)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE bound text;
BEGIN
  SELECT pg_get_expr(c.relpartbound, c.oid) INTO bound
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
   WHERE i.inhparent = to_regclass(format('%I.%I', '{schema}', parent)) AND c.relname = part
     AND c.relnamespace = '{schema}'::regnamespace;
  IF substring(bound FROM 'TO \\(''([^'']+)''\\)')::timestamptz <= before THEN
    EXECUTE format('DROP TABLE %I.%I', '{schema}', part);
  ELSE
    RAISE EXCEPTION '% is no partition of % that ends before %', part, parent, before;
  END IF;
END $$
"""


def script(schema: str) -> str:
    """Return the SQL that makes both roles of a service; running it again changes nothing."""
    names = {"owner": OWNER.format(schema=schema), "runtime": RUNTIME.format(schema=schema)}
    less = (
        _LESS_OF.format(table=f"{schema}.{table}", rights=rights, **names)
        for table, rights in _LESS.items()
    )
    return _ROLES.format(schema=schema, rights=_ALL, **names) + "".join(less)


def partition_functions(schema: str) -> list[str]:
    """Return the statements that create the functions that keep partitions by time."""
    signatures = (
        "make_partition(name, name, timestamptz, timestamptz)",
        "drop_partition(name, name, timestamptz)",
    )
    return [
        *(function.format(schema=schema) for function in (_MAKE, _DROP)),
        *(f"REVOKE ALL ON FUNCTION {schema}.{each} FROM PUBLIC" for each in signatures),
    ]


def upgrade(schema: str) -> None:
    """Create the functions, in a migration."""
    for statement in partition_functions(schema):
        op.execute(statement)
