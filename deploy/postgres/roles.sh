#!/bin/sh
# For each service a database, a role that owns its tables and one that serves and owns nothing.
# Run by the Postgres image when it makes a new cluster; MIGRATING_PASSWORD and SERVING_PASSWORD are
# those of the roles.
set -eu

for service in ledger rules tiers audience; do
  psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 \
    --set name="loyalty_$service" --set owner="loyalty_${service}_owner" \
    --set migrating="$MIGRATING_PASSWORD" --set serving="$SERVING_PASSWORD" <<'SQL'
CREATE ROLE :"owner" LOGIN PASSWORD :'migrating';
CREATE ROLE :"name" LOGIN PASSWORD :'serving';
CREATE DATABASE :"name" OWNER :"owner" TEMPLATE template0 ENCODING 'UTF8'
  LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C';
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"name" TO :"name";
SQL
done
