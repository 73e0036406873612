package reports

import (
	"errors"
	"net"
	"strings"

	"netstage/stage1/report"
)

// Machine is the name that a machine's reports go by.
func Machine(r report.Report) (string, error) {
	lowest := ""
	for _, text := range r.Machine.MACs {
		mac, err := net.ParseMAC(text)
		if err != nil || len(mac) != 6 || [6]byte(mac) == [6]byte{} {
			continue
		}
		if id := strings.ReplaceAll(mac.String(), ":", "-"); lowest == "" || id < lowest {
			lowest = id
		}
	}
	if lowest != "" {
		return lowest, nil
	}
	if id := strings.ToLower(r.Machine.UUID); isID(id) {
		return id, nil
	}
	return "", errors.New("boot report: it names no machine, neither by a MAC address nor by a UUID")
}

// isID tells whether s is a MAC address or a UUID, in lower case and with
// dashes, which both are safe as the name of a folder.
func isID(s string) bool {
	form := "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	if len(s) == len("xx-xx-xx-xx-xx-xx") {
		form = "xx-xx-xx-xx-xx-xx"
	}
	if len(s) != len(form) {
		return false
	}
	for i := range len(s) {
		hex := '0' <= s[i] && s[i] <= '9' || 'a' <= s[i] && s[i] <= 'f'
		if dash := form[i] == '-'; dash != (s[i] == '-') || !dash && !hex {
			return false
		}
	}
	return true
}
