#!/bin/sh
# Builds the packages into a folder, from the root of the source tree:
#   VERSION=0.1.0 packaging/build.sh build/packages [ARCH...]     amd64 arm64
# KINDS="deb rpm" are what is built. The same commit gives the same bytes.
set -eu
out=$1
shift
[ $# -gt 0 ] || set -- amd64 arm64
: "${VERSION:=0.1.0}"
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || echo 1767225600)}"
export VERSION SOURCE_DATE_EPOCH

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
export STAGE="$stage"
# Where checkouts are made with other rights, packages are not.
umask 022
mkdir -p "$out" "$stage/man"
for page in packaging/man/*; do
	sed "s/@VERSION@/$VERSION/" "$page" | gzip -9n >"$stage/man/${page##*/}.gz"
done

for arch in "$@"; do
	export ARCH="$arch"
	GOOS=linux GOARCH=$arch CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags grpcnotrace \
		-ldflags "-s -w -X main.version=$VERSION" -o "$stage/" \
		./cmd/ginnel ./cmd/ginnel-dataplane ./cmd/ginnelctl ./cmd/ginnel-collector ./cmd/ginnel-check-clinical
	for config in packaging/nfpm/*.yaml; do
		for kind in ${KINDS:-deb rpm}; do
			go tool -modfile=.tools/go.mod nfpm package --config "$config" --packager $kind --target "$out/" |
				sed -n 's/^created package: //p'
		done
	done
done
