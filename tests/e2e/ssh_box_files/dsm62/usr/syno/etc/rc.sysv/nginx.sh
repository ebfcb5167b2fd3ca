#!/bin/sh
# dsm-ssh 2.1, the four steps, with the two silent ends that return 0 although nothing was done.
. /opt/box/lib.sh
note "$0" "$@"
[ "$1" = reload ] || { echo "Usage: $0 reload"; exit 1; }
/usr/syno/sbin/synoservicectl --status nginx >/dev/null || exit 0
/usr/syno/bin/synow3tool --deploy-hup >/dev/null 2>&1
case $? in
255) exit 1 ;;
2) exit 0 ;;
esac
start alias-register
reload nginx
