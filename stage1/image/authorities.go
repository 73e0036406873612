package image

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"slices"

	"netstage/fetch/manifest"
	"netstage/fetch/ref"
	"netstage/fetch/vouch"
	"netstage/stage1/config"
	"netstage/stage1/fault"
)

// warnOfNoAuthorities tells why https will fail where the initrd has no
// authorities at all.
func (g *Getter) warnOfNoAuthorities(o vouch.Order) {
	if !usesHTTPS(o) || o.Fetch.Roots != nil {
		return
	}
	if pool, err := x509.SystemCertPool(); err != nil || pool.Equal(x509.NewCertPool()) {
		g.log().Warn("no server will be trusted for https: the initrd has neither " + config.OwnCA + " nor /etc/ssl/certs/ca-certificates.crt")
	}
}

// Authorities are the certificate authorities for https: those of the file
// asked for, or of own, the initrd's policy, which no parameter loosens. Nil
// stands for the system's, /etc/ssl/certs/ca-certificates.crt.
func Authorities(asked, own string) (*x509.CertPool, error) {
	text, err := ReadAuthorities(asked, own)
	if text == nil || err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool, nil
}

// ReadAuthorities is their text in PEM, nil for the system's.
func ReadAuthorities(asked, own string) ([]byte, error) {
	file := own
	_, err := os.Stat(own)
	switch {
	case err == nil && asked != "" && asked != own:
		return nil, fault.Errorf(fault.Policy, "rootfs.ca=%s: the initrd allows the authorities of %s alone", asked, own)
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist):
		return nil, &fault.Error{Class: fault.Policy, Cause: err}
	case asked == "":
		return nil, nil
	default:
		file = asked
	}
	const most = 4 << 20 // Mozilla's list has 0.2
	text, err := manifest.ReadFile(file, most)
	if err != nil {
		return nil, fault.Errorf(fault.Policy, "certificate authorities: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return nil, fault.Errorf(fault.Policy, "certificate authorities: %s holds no certificate in PEM", file)
	}
	return text, nil
}

// usesHTTPS reports whether anything is fetched from where certificates matter.
func usesHTTPS(o vouch.Order) bool {
	return slices.ContainsFunc(o.Places(), func(l ref.Location) bool {
		return l.Scheme() == "https"
	})
}
