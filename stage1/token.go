package stage1

import (
	"fmt"
	"os"

	"netstage/fetch"
	"netstage/fetch/ref"
	"netstage/stage1/fault"
)

// token reads the bearer token for the servers; no file means none.
func (b *Boot) token(places []ref.Location) (string, error) {
	file := b.config.Token
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fault.Errorf(fault.Policy, "rootfs.token=: %w", err)
	}
	token, err := fetch.ParseToken(text)
	if err != nil {
		return "", fault.Errorf(fault.Policy, "rootfs.token=%s: %w", file, err)
	}
	for _, place := range places {
		if place.Scheme() == "http" {
			b.Log.Warn(fmt.Sprintf("image: the token goes to %s unencrypted: whoever sees it can use it", place))
		}
	}
	return token, nil
}
