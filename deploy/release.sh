#!/usr/bin/env bash
# Makes a release in target/release-files: the binary of the dist profile, the chart, an SBOM, and checksums.
# Names each missing tool, and makes nothing without it.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-cyclonedx >/dev/null || { echo "cargo install --locked cargo-cyclonedx"; exit 1; }
[ -z "$(git status --porcelain)" ] || { echo "the working tree has changes: commit them first"; exit 1; }
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
target=$(rustc -vV | sed -n 's/^host: //p')
out=target/release-files
rm -rf "$out" && mkdir -p "$out"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) cargo build --locked --profile dist -p wharf
tar -C target/dist -czf "$out/wharf-$version-$target.tar.gz" wharf -C "$PWD" README.md LICENSE SECURITY.md config.yaml deploy/wharf.service
cargo cyclonedx --format json --override-filename "wharf-$version"
mv "wharf-$version.json" "$out/wharf-$version.cdx.json"
rm -f tests/*/"wharf-$version.json" # one is written for every package of the workspace
tar -C deploy/helm -czf "$out/wharf-chart-$version.tgz" wharf
(cd "$out" && sha256sum -- * > SHA256SUMS)
ls -l "$out"
