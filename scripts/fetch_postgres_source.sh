#!/usr/bin/env bash
# Fetches PostgreSQL's own regression SQL: prints the directory that holds <major>/src/test/regress.
# Sources come from Debian's source packages (15 bookworm, 17 trixie, 18 sid) by an apt whose
# configuration, lists and cache are private: the system's own are neither read nor changed.
source "$(dirname "$0")/common.sh"
DESTINATION=${POSTGRES_SOURCE_DIR:-/var/tmp/strata-postgres-source}
APT=$DESTINATION/apt
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
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg major mirror
    # Where this system has its own packages from.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
    [ -n "$mirror" ] || die "apt has no package lists; run 'apt-get update' first"
    : >"$APT/etc/sources.list"
    for major in "${!SUITES[@]}"; do
        echo "deb-src [signed-by=$keyring] $mirror ${SUITES[$major]} main" >>"$APT/etc/sources.list"
    done
}

fetch() {
    local major=$1 download=$DESTINATION/download-$1
    rm -rf "$download"
    mkdir -p "$download"
    if ! (cd "$download" && private_apt apt-get -qq source --download-only -t "${SUITES[$major]}" "postgresql-$major" >&2); then
        # A mirror may announce a version that it does not hold. The test then takes the nearest.
        say "The sources of PostgreSQL $major are not to be had from ${SUITES[$major]}: going on without" >&2
        return
    fi
    local archive
    archive=$(find "$download" -name "postgresql-${major}_*.orig.tar.*" ! -name '*.asc')
    [ -n "$archive" ] || die "apt-get source gave no orig.tar of postgresql-$major"
    mkdir -p "$DESTINATION/$major.new"
    tar -xf "$archive" -C "$DESTINATION/$major.new" --strip-components=1 --wildcards \
        '*/src/test/regress/*' '*/src/test/isolation/specs/*' '*/COPYRIGHT'
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
