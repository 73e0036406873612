package registry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"netstage/fetch/ref"
)

// Access is how a registry is reached.
type Access struct {
	AuthFile  string         // with logins, as "docker login" writes it; empty: docker's own
	Roots     *x509.CertPool // for https; nil: the system's
	UserAgent string
}

// Open makes ready to talk to an artifact's repository.
func (a Access) Open(x ref.Artifact) (*remote.Repository, error) {
	var store credentials.Store
	var err error
	if a.AuthFile == "" {
		store, err = credentials.NewStoreFromDocker(credentials.StoreOptions{})
	} else {
		store, err = credentials.NewFileStore(a.AuthFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read the logins for registries: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: a.Roots, MinVersion: tls.VersionTLS12}
	client := &auth.Client{
		Client: &http.Client{Transport: transport}, Cache: auth.NewCache(),
		Credential: credentials.Credential(store), Header: http.Header{"User-Agent": {a.UserAgent}},
	}
	return &remote.Repository{
		Client: client, PlainHTTP: x.Plain,
		Reference: registry.Reference{Registry: x.Host, Repository: x.Name, Reference: x.Tag},
	}, nil
}
