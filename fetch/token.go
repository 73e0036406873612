package fetch

import (
	"errors"
	"net"
	"net/url"
	"strings"
)

// ParseToken reads a file with a bearer token (RFC 6750, 2.1), white space
// around it aside. Whatever else a file may be, a key for instance, is refused,
// and the error does not quote it.
func ParseToken(text []byte) (string, error) {
	token := strings.TrimSpace(string(text))
	const most = 8 << 10
	body := strings.TrimRight(token, "=")
	switch {
	case body == "":
		return "", errors.New("it holds no token")
	case len(token) > most:
		return "", errors.New("it is too long for a token")
	case strings.Trim(body, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/") != "":
		return "", errors.New("it is not one token: letters, digits and -._~+/ alone")
	}
	return token, nil
}

// Origin is scheme, host and port of a URL (RFC 6454, 4): two that differ have
// nothing to do with each other.
func Origin(u *url.URL) string {
	return strings.ToLower(u.Scheme) + "://" + strings.ToLower(HostPort(u))
}

// HostPort is what to connect to for a URL.
func HostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case strings.EqualFold(u.Scheme, "https"):
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
