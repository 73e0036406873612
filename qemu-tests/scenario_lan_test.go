package qemutests

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"

	"netstage/fetch/faulty"
	"netstage/qemu-tests/nsmachine"
)

// network is what a machine's NIC is plugged into. The zero value has a DHCP
// server and one mirror, which is in order. In QEMU it is QEMU's own, and has
// its mirrors on this host.
type network struct {
	mirrors []mirror // of the image; one when nil

	web    map[string]http.Handler // other servers, by the word for their address
	before func(*played)           // adds what else is there

	noDHCP   bool
	options  []string // of the DHCP server, which is dnsmasq
	ipv6     bool     // the server's addresses
	dhcp6    bool     // IPv6 alone, in place of DHCP for IPv4
	firewall string   // chains of an nftables table

	mac       string // of the machine's NIC
	noCarrier bool   // until cable puts the cable in
}

// mirrored is a network whose mirror follows a script.
func mirrored(script ...faulty.Behaviour) *network {
	return &network{mirrors: []mirror{{script: script}}}
}

// A mirror serves the image and what vouches for it, and misbehaves with the
// image as told.
type mirror struct {
	script  []faulty.Behaviour
	tls     *tls.Config
	files   map[string]string // more that it serves: name → text
	content []byte            // in place of the image
	late    bool              // nobody listens until opens
}

// served is a mirror under way.
type served struct {
	mirror
	server          *faulty.Server // nil while it is late
	dir, addr, port string         // as the machine has them
	listen          string
}

// start makes the network and its mirrors.
func (n network) start(p *played, qemu bool) {
	p.t.Helper()
	host, listen := nsmachine.Gateway, nsmachine.Gateway+":0"
	if qemu {
		host, listen = "10.0.2.2", "127.0.0.1:0"
	} else {
		p.lan = nsmachine.NewLAN(p.t)
	}
	if n.ipv6 {
		p.lan.IPv6(p.t)
	}
	if n.ipv6 || n.dhcp6 {
		listen = ":0" // both families
	}
	if n.mirrors == nil {
		n.mirrors = []mirror{{}}
	}
	for _, m := range n.mirrors {
		s := &served{mirror: m}
		l := p.listen(listen)
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			p.t.Fatal(err)
		}
		scheme := "http://"
		if m.tls != nil {
			scheme = "https://"
		}
		s.port, s.addr, s.listen = port, host+":"+port, l.Addr().String()
		s.dir = scheme + s.addr
		p.mirrors = append(p.mirrors, s)
		if m.late {
			l.Close()
			continue
		}
		p.open(s, l)
	}
	p.others = map[string]string{}
	for name, handler := range n.web {
		url := p.lan.Serve(p.t, handler)
		p.others[name] = strings.Trim(strings.TrimPrefix(url, "http://"), "/")
	}
	if n.before != nil {
		n.before(p)
	}
	if n.firewall != "" {
		p.lan.Firewall(p.t, n.firewall)
	}
}

// hello starts what gives the machine its address.
func (n network) hello(p *played) {
	p.t.Helper()
	var options []string
	for _, o := range n.options {
		options = append(options, p.words.Replace(o))
	}
	switch {
	case n.noDHCP:
	case n.dhcp6:
		p.lan.DHCP6(p.t, options...)
	default:
		p.lan.DHCP(p.t, options...)
	}
}

// listen opens a port of the network's server.
func (p *played) listen(address string) net.Listener {
	p.t.Helper()
	if p.lan != nil {
		return p.lan.Listen(p.t, address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		p.t.Fatal(err)
	}
	return l
}

// open has a mirror serve until the test ends.
func (p *played) open(s *served, l net.Listener) {
	content := p.image.content
	if s.content != nil {
		content = s.content
	}
	s.server = faulty.Serve(l, s.tls, content, s.script...)
	p.t.Cleanup(func() { s.server.Close() })
	p.image.addTo(s.server)
	for name, text := range s.files {
		s.server.Add(strings.TrimPrefix(name, "/"), []byte(text))
	}
}
