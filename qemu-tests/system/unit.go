package system

import (
	"fmt"
	"os"
	"strings"
)

// TellUnit runs /etc/tell when multi-user is reached, on the serial line.
const TellUnit = `[Unit]
Description=Tell how the boot went
[Service]
ExecStart=/bin/sh /etc/tell
StandardOutput=tty
TTYPath=/dev/ttyS0
[Install]
WantedBy=multi-user.target
`

// DocumentedUnit is what a document says a unit is, indented after a comment
// with its name.
func DocumentedUnit(document, name string) (string, error) {
	text, err := os.ReadFile(document)
	if err != nil {
		return "", err
	}
	_, rest, found := strings.Cut(string(text), "    # "+name+"\n")
	if !found {
		return "", fmt.Errorf("%s has no unit %s", document, name)
	}
	var unit strings.Builder
	for line := range strings.Lines(rest) {
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "    ") {
			break
		}
		unit.WriteString(strings.TrimPrefix(line, "    "))
	}
	return unit.String(), nil
}
