package fault

// Classes of the way to the image's server, and what it answers.
const (
	NoNIC     Class = "no-nic"     // no network card
	NoDriver  Class = "no-driver"  // a card that the initrd has no driver for
	NoCarrier Class = "no-carrier" // no link
	NoLease   Class = "no-lease"   // no DHCP server or router answers
	NoRoute   Class = "no-route"   // an address and no path to the server
	DNS       Class = "dns"        // a name that can't be resolved
	Refused   Class = "refused"    // nothing listens there
	TLS       Class = "tls"        // a certificate or handshake that fails
	NotFound  Class = "http-404"   // the server has no such file
	TFTP      Class = "tftp"       // a TFTP server's error
	Stalled   Class = "stalled"    // bytes came, then none
	Short     Class = "short"      // the body ended early
	Timeout   Class = "timeout"    // no answer in time
	Reset     Class = "reset"      // the connection was ended by somebody
	TLSDate   Class = "tls-date"   // a certificate, or a clock, out of date
	Redirect  Class = "redirect"   // sent in a circle, or from https to http
	BadRange  Class = "bad-range"  // a wrong answer to a request for a part
	Encoding  Class = "encoding"   // compressed on its way
	Protocol  Class = "protocol"   // no proper HTTP
	Changed   Class = "changed"    // replaced while it was fetched
	TooLarge  Class = "too-large"  // more than such a file may have
	Cancelled Class = "cancelled"  // called off by the step's end

	RegistryAuth Class = "registry-auth" // a registry that lets nobody in, or not this machine
)

var network = []advice{
	{NoNIC, []string{
		"Is there a card? In the kernel log (d) look for its PCI line. None: check that the firmware hasn't switched it off, reseat it.",
		"In a virtual machine: give it a virtio-net or e1000 device.",
		"USB or thunderbolt adapter: plug it into another port; try without the hub.",
	}},
	{NoDriver, []string{
		"The card is there and the initrd has no driver for it. Rebuild it with netstage initrd, and --module NAME where the line above names one.",
		"Kernel and modules must be of the same version: compare uname -r with the folder in /lib/modules.",
		"Driver loaded but no link? It may want firmware: look for \"firmware\" in the kernel log (d) and add it with --firmware.",
	}},
	{NoCarrier, []string{
		"Look at the link light. Dark: cable, transceiver (SFP), or the switch port is shut.",
		"Try another port and another cable before anything else; with several cards, is the cable in the right one?",
		"Fixed speed on the switch side? Both ends must be on autonegotiation.",
		"Spanning tree can hold a port for 30 s: set portfast (edge) on it.",
	}},
	{NoLease, []string{
		"Carrier is up and no DHCP server answered. Is this port in the right VLAN?",
		"Is the server running, and has it free addresses? Look for this machine's MAC in its log: seen there but not answered is a pool or a filter.",
		"Across a router the relay (ip helper) must name the server.",
		"Spanning tree can hold a port for 30 s: set portfast (edge) on it. Or give the address by hand with ip=.",
	}},
	{NoRoute, []string{
		"The address is there, the way out is not: does DHCP give a router (option 3 or 121)? Is the gateway inside the netmask?",
		"Is the image server in another network? Then the gateway must answer: ping it from the shell.",
		"With several cards: the wrong one may have got the lease. Pin it with ip=DEVICE:dhcp or BOOTIF=.",
	}},
	{DNS, []string{
		"Does DHCP give name servers (option 6) that this network can reach?",
		"Is the name spelled right, and known there? Try it from a machine in the same network.",
		"To get going now: put the address into rootfs= instead of the name, or add nameserver=ADDRESS.",
	}},
	{Refused, []string{
		"The host is up and nothing listens on that port: is the web server running? Is the port in rootfs= the right one?",
		"Listening on 127.0.0.1 only looks the same from here: check with ss -ltn on the server.",
		"A firewall that rejects does, too.",
	}},
	{TLS, []string{
		"Compare the clocks: a machine with an empty battery believes it is years ago and refuses every certificate. Set it in the firmware.",
		"Is the certificate's name the one in the URL, and is its issuer in the initrd (/etc/ssl/certs)?",
		"Expired? openssl s_client -connect HOST:443 on another machine shows it.",
	}},
	{NotFound, []string{
		"The server answers and doesn't have, or doesn't give, that file. Compare the URL above with what is really there, letter by letter.",
		"A relative rootfs= is looked up beside the boot file of DHCP: set rootfs.base= or give the whole URL.",
		"401 or 403: file permissions on the server, or it wants a login.",
		"Did somebody upload a new image and remove the old one? The boot script may still name the old.",
	}},
	{TFTP, []string{
		"The TFTP server answers and doesn't give that file: error 1 means that it isn't there, 2 that it may not be read. Compare the URL with what is below the server's root folder (dnsmasq: tftp-root), letter by letter.",
		"dnsmasq with tftp-secure serves only files of its own user; others want them readable by everybody.",
		"Ask it yourself: curl -o /dev/null tftp://HOST/FILE from a machine in the same network.",
	}},
	{Stalled, []string{
		"Bytes came, then stopped. Many machines booting at once? The server or its uplink may be full.",
		"Dies always after some kilobytes: an MTU problem on the path; try a smaller MTU, or let ICMP through the firewall.",
		"Look at the switch port's error counters: a bad cable passes pings and stalls images.",
	}},
	{Short, []string{
		"The image ended before its announced length. Is the file on the server complete? Compare its size there.",
		"Is it being replaced right now? Upload under another name and rename it.",
		"A proxy in between may cut large files: fetch without it.",
	}},
	{Timeout, []string{
		"The server's packets don't come back: a firewall that drops, the wrong address, or a server that is down. Ping it, then try its port: wget URL in the shell.",
		"Does the server know a way back into this network? Compare its routes with the address above.",
		"Connects, and then no answer: the server is overloaded, or waits for a disk of its own.",
	}},
	{Reset, []string{
		"Somebody ends the connection: the web server (look into its error log), a load balancer with a limit, or a firewall.",
		"Always after the same number of bytes? A proxy's limit on size. Always after the same time? A time limit.",
	}},
	{TLSDate, []string{
		"Certificate or clock is out of date. A machine with an empty battery is years behind. Set it in the firmware.",
		"No clock to trust? Give time servers by DHCP (option 42): they are asked before https.",
		"With rootfs.sha256= or a root hash a wrong date only warns: pin the image.",
		"The clock is right? Renew the certificate on the server.",
	}},
	{Redirect, []string{
		"The server sends on to another address, in a circle or from https to http, which is refused. See for yourself: curl -IL URL.",
		"Put the last address, the one that has the file, into rootfs=.",
	}},
	{BadRange, []string{
		"The server, or a proxy before it, answers a request for a part of the file wrongly: curl -r 100-199 URL must give 100 bytes.",
		"Go round the proxy, or switch its caching of ranges off.",
	}},
	{Encoding, []string{
		"The server compresses the image on its way (Content-Encoding): switch that off for this file.",
		"A file named .gz or .zst is often served so by mistake: rename it.",
	}},
	{Protocol, []string{
		"What answers there speaks no proper HTTP: is it the right port? https on an http port looks like this.",
		"Ask it yourself: curl -v URL from a machine in the same network.",
	}},
	{Changed, []string{
		"The image was replaced on the server while this machine fetched it. Retry: the new one is fetched from its start.",
		"Upload under another name and rename, so that a download has the old or the new one.",
		"Mirrors that differ? Compare sizes and dates there.",
	}},
	{TooLarge, []string{
		"A small file (manifest, signature, verity tree) is far too large: the URL leads to something else. Look at it: curl -I URL.",
		"A verity tree must be of the very image that is beside it: make both anew with netstage image.",
	}},
	{Cancelled, []string{
		"The download was called off before it was done: by the step's end, not by a server. Retry.",
		"Again? Please report it, with the kernel log (d).",
	}},
	{RegistryAuth, []string{
		"The registry wants a login that it does not get, or refuses the one it gets. Put it into the initrd as /etc/netstage/registry.json: docker's config.json, with the registry's host as the key.",
		"Its token server is another host? That one must be a key of its own; only a key that begins with http:// goes by http.",
		"Try the same login elsewhere: skopeo inspect --raw --authfile registry.json docker://HOST/NAME:TAG.",
		"A robot account that has run out, or may not read this repository? Ask the registry's log.",
	}},
}
