#!/bin/sh
# dsm-ssh 2.2: VPN Center copies its certificate to the keys of OpenVPN; `OpenVPN` on DSM 6,
# `copy_cert_only` on DSM 7.
. /opt/box/lib.sh
note "$0" "$@"
case $1 in OpenVPN | copy_cert_only) ;; *) exit 1 ;; esac
from=$packages/VPNCenter/OpenVPN
to=/usr/syno/etc/packages/VPNCenter/openvpn/keys
prefix=$(prefix_of $from)
umask 077
cat "$from/${prefix}fullchain.pem" >$to/server.crt &&
  cat "$from/${prefix}privkey.pem" >$to/server.key &&
  { [ ! -e $from/chain.pem ] || cat $from/chain.pem >$to/ca.crt; }
