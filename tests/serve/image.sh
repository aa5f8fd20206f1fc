#!/usr/bin/env bash
# Builds the image `veritable` from the Dockerfile as it is, on a machine that cannot pull python:3.11-slim: Debian's own
# Python takes its place, and the locked packages are fetched outside, by this machine's pip with its settings, so that
# nothing about its package index gets into the build. As root: tests/serve/image.sh FOLDER STORE, where FOLDER holds
# models/, reports/ and dvc.lock, and STORE becomes the storage of the images.
set -euo pipefail
folder=$(realpath "$1") store=$(realpath -m "$2")
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
buildah() { command buildah --root "$store/images" --runroot "$store/run" "$@"; }

mmdebstrap --quiet --variant=minbase --include=python3-venv --dpkgopt=force-unsafe-io \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --customize-hook='ln -s python3 "$1/usr/bin/python"' \
  bookworm "$work/root.tar"
printf 'FROM scratch\nADD root.tar /\n' |
  buildah build --quiet --isolation=chroot --tag python:3.11-slim --file - "$work"

mkdir "$work/pip"
python3 -m pip -qq download --require-hashes --only-binary=:all: --python-version 3.11 --no-deps \
  --requirement requirements-serve.lock --dest "$work/pip"
printf '[global]\nno-index = true\nfind-links = /etc/xdg/pip\ndisable-pip-version-check = true\n' >"$work/pip/pip.conf"

mkdir "$work/context"
git ls-files -z --cached --others --exclude-standard -- . ':!models' ':!reports' ':!dvc.lock' |
  tar --create --null --files-from=- --ignore-failed-read | tar --extract --directory "$work/context"
cp -r "$folder/models" "$folder/reports" "$folder/dvc.lock" "$work/context"
mkdir -p "$work/context/data/bankchurn" && touch "$work/context/data/bankchurn/raw.parquet" "$work/context/.env"

SECONDS=0
buildah build --isolation=chroot --pull-never --format=docker --volume "$work/pip:/etc/xdg/pip:ro" \
  --build-arg REVISION="$(git rev-parse HEAD)" --build-arg SOURCE=https://example.org/veritable --tag localhost/veritable:latest "$work/context"
echo "built in $SECONDS s"
