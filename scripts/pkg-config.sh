#!/bin/sh
# Answers for pkg-config on machines that have none, about libuv only. It says
# what vendor/pkgconfig/libuv.pc says: the version, and nothing to link.
for argument in "$@"; do
  case "$argument" in
    --modversion) version=1 ;;
    libuv) known=1 ;;
  esac
done
[ -n "$known" ] || exit 1
if [ -n "$version" ]; then
  sed -n 's/^Version: //p' "$(dirname "$0")/../vendor/pkgconfig/libuv.pc"
fi
