#!/bin/sh
# What udhcpc runs for its lease.
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
for gateway in $router; do
	ip route add default via "$gateway" dev "$interface"
done
for server in $dns; do
	echo "nameserver $server" >>/etc/resolv.conf
done
