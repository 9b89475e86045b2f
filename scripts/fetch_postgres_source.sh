#!/usr/bin/env bash
# Fetches PostgreSQL's own regression SQL: prints the directory that holds <major>/src/test/regress. Runs
# after setup.sh, which installs the servers that the SQL is for.
# Sources come from Debian's source packages (15 bookworm, 17 trixie, 18 sid) by an apt whose
# configuration, lists and cache are private; of the system's own only the mirror's address is used.
source "$(dirname "$0")/common.sh"
DESTINATION=${POSTGRES_SOURCE_DIR:-/var/tmp/strata-postgres-source}
APT=$DESTINATION/apt
DISTRIB="$(postgres_accessible_dir "$ROOT/pg_install" /var/tmp/strata-pg_install)"
declare -A SUITES=([15]=bookworm [17]=trixie [18]=sid)

private_apt() {
    local program=$1
    shift
    APT_CONFIG=$APT/apt.conf "$program" "$@"
}

configure_apt() {
    mkdir -p "$APT"/{lists/partial,cache/archives/partial,state,etc}
    : >"$APT/state/status"
    cat >"$APT/apt.conf" <<CONF
Dir::Etc "$APT/etc/";
Dir::Etc::SourceList "$APT/etc/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::State "$APT/state/";
Dir::State::Lists "$APT/lists/";
Dir::State::Status "$APT/state/status";
Dir::Cache "$APT/cache/";
APT::Architecture "$(dpkg --print-architecture)";
APT::Sandbox::User "root";
Acquire::Languages "none";
# A mirror may lag; what is fetched are sources to test against, not software to run.
Acquire::Check-Valid-Until "false";
CONF
    local mirror security suite
    # Where this system has its own packages from.
    mirror=$(system_mirrors | grep -v security | head -n 1)
    security=$(system_mirrors | grep security | head -n 1)
    [ -n "$mirror" ] || die "apt has no package lists; run 'apt-get update' first"
    : >"$APT/etc/sources.list"
    for suite in "${SUITES[@]}"; do
        add_source "$mirror" "$suite"
        # The suite that is not released yet has neither.
        [ "$suite" != sid ] || continue
        add_source "$mirror" "$suite-updates"
        [ -z "$security" ] || add_source "$security" "$suite-security"
    done
}

system_mirrors() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -i debian | sort -u
}

add_source() {
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb-src [signed-by=$keyring] $1 $2 main" >>"$APT/etc/sources.list"
}

# Every version of the source package that any of the suites announces, the newest first.
announced_versions() {
    private_apt apt-cache showsrc --only-source "postgresql-$1" | sed -n 's/^Version: //p' | sort -Vru
}

# The version of the server that is to run the SQL. Newer SQL has statements for faults that this server
# has still, down to a crash.
server_version() {
    "$DISTRIB/v$1/bin/postgres" --version | sed -E 's/^postgres \(PostgreSQL\) ([0-9.]+).*/\1/'
}

# One version by apt, into a directory.
by_apt() { # major, version, directory
    (cd "$3" && private_apt apt-get -qq source --download-only "postgresql-$1=$2" >&2)
}

# What a mirror holds without announcing it any more. No list vouches for it, so it comes by HTTPS or not
# at all.
unannounced() { # major, upstream version, directory
    local mirror archive=postgresql-$1_$2.orig.tar.bz2
    mirror=$(system_mirrors | grep -v security | head -n 1)
    mirror=${mirror%/}
    curl -sfL --proto-redir =https -o "$3/$archive" "${mirror/#http:/https:}/pool/main/p/postgresql-$1/$archive"
}

# Sources of the server's version or, where they are not to be had, the newest ones.
download() { # major, directory
    local major=$1 directory=$2 wanted versions version
    wanted=$(server_version "$major")
    versions=$(announced_versions "$major")
    for version in $(grep "^$wanted-" <<<"$versions"); do
        by_apt "$major" "$version" "$directory" && return
    done
    unannounced "$major" "$wanted" "$directory" && return
    for version in $versions; do
        # A mirror may announce a version that it does not hold.
        by_apt "$major" "$version" "$directory" && return
        say "The mirror does not hold version $version" >&2
    done
    return 1
}

fetch() {
    local major=$1 download=$DESTINATION/download-$1 archive
    rm -rf "$download"
    mkdir -p "$download"
    if ! download "$major" "$download"; then
        say "The sources of PostgreSQL $major are not to be had: its tests take those of the nearest version" >&2
        rm -rf "$download"
        return
    fi
    archive=$(find "$download" -name "postgresql-${major}_*.orig.tar.*" ! -name '*.asc')
    say "Taking $(basename "$archive")" >&2
    mkdir -p "$DESTINATION/$major.new"
    tar -xf "$archive" -C "$DESTINATION/$major.new" --strip-components=1 --wildcards \
        '*/src/test/regress/*' '*/COPYRIGHT'
    mv "$DESTINATION/$major.new" "$DESTINATION/$major"
    rm -rf "$download"
}

missing=()
for major in "${!SUITES[@]}"; do
    [ -d "$DESTINATION/$major/src/test/regress" ] || missing+=("$major")
done
if [ ${#missing[@]} -gt 0 ]; then
    say "Fetching the sources of PostgreSQL ${missing[*]} into $DESTINATION" >&2
    configure_apt
    private_apt apt-get -qq update >&2
    for major in "${missing[@]}"; do fetch "$major"; done
fi
echo "$DESTINATION"
