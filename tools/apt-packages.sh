#!/bin/sh
# Installs the two Debian packages that some tests use: the real QEMU, and a browser. Without them
# those tests are skipped. For CI and for containers that run as root.
set -eu
missing=""
command -v qemu-system-riscv64 >/dev/null || missing="$missing qemu-system-misc"
command -v chromium >/dev/null || missing="$missing chromium"
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
[ -n "$missing" ] || exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # a list of words on purpose
apt-get install -y -qq --no-install-recommends $missing
