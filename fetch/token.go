package fetch

import (
	"errors"
	"strings"
)

// ParseToken reads a file with a bearer token (RFC 6750, 2.1), white space around it aside. Whatever else a file may
// be, a key for instance, is refused, and the error does not quote it.
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
