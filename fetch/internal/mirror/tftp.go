package mirror

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/sys/unix"

	"netstage/fetch/ref"
	"netstage/fetch/tftp"
	"netstage/stage1/fault"
)

// tftpTransport makes a TFTP server a mirror like any other: one that sends
// neither ranges nor validators. It is the http.RoundTripper of tftp:// URLs
// (RFC 3617: the file's name is the path without its first slash).
type tftpTransport struct{ dialer *dialer }

func (t tftpTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	file := strings.TrimPrefix(r.URL.Path, "/")
	if file == "" {
		return nil, NewFault(ThisMirror, fault.BadURL, nil, "%s: the URL names no file", r.URL.Host)
	}
	conn, server, err := t.listen(r.Context(), r.URL)
	if err != nil {
		return nil, err
	}
	transfer, err := tftp.Open(r.Context(), conn, server.AddrPort(), file)
	var refused *tftp.Error
	if errors.As(err, &refused) {
		scope := Transient
		if refused.Code == tftp.NotFound || refused.Code == tftp.AccessViolation {
			scope = ThisMirror
		}
		return nil, NewFault(scope, fault.TFTP, err, "%s: %v for %s", r.URL.Host, refused, ref.Redacted(r.URL.String()))
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{Request: r, Proto: "TFTP", Status: "OK", StatusCode: http.StatusOK, Header: http.Header{},
		ContentLength: transfer.Size, Body: transfer}, nil
}

// listen opens a socket for one transfer, and finds the server's address.
func (t tftpTransport) listen(ctx context.Context, u *url.URL) (*net.UDPConn, *net.UDPAddr, error) {
	port := u.Port()
	if port == "" {
		port = "69"
	}
	// The server answers from another port than is asked, so the transfer's
	// socket can't be a connected one. This one sends nothing; it knows the
	// addresses.
	probe, err := t.dialer.dial(ctx, "udp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, nil, err
	}
	defer probe.Close()
	local, ok := probe.LocalAddr().(*net.UDPAddr)
	server, ok2 := probe.RemoteAddr().(*net.UDPAddr)
	if !ok || !ok2 {
		return nil, nil, fmt.Errorf("dial %s: not a UDP socket", u.Host)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: local.IP, Zone: local.Zone})
	if err != nil {
		return nil, nil, err
	}
	if err := hearErrors(conn, server); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	if ip4 := server.IP.To4(); ip4 != nil {
		server.IP = ip4
	}
	return conn, server, nil
}

// hearErrors has the socket report that nobody listens (ICMP; ip(7),
// IP_RECVERR), and take bursts.
func hearErrors(conn *net.UDPConn, server *net.UDPAddr) error {
	_ = conn.SetReadBuffer(1 << 20) // as much as the system allows
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	level, option := unix.SOL_IP, unix.IP_RECVERR
	if server.IP.To4() == nil {
		level, option = unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, 1) })
	return errors.Join(err, failed)
}
