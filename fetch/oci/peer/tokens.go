package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

const issuer, service = "netstage-test", "registry-test"

// Tokens is a token server (distribution's "token authentication").
type Tokens struct {
	server *httptest.Server
	key    *ecdsa.PrivateKey
	cert   []byte

	mu    sync.Mutex
	login string
	life  time.Duration
	asked []Asked
}

// Asked is a request for a token.
type Asked struct {
	Scopes []string
	Login  string // USER:PASSWORD, empty: anybody
}

// ServeTokens runs a token server until the test ends. With a login,
// USER:PASSWORD, nobody else gets a token.
func ServeTokens(t testing.TB, login string) *Tokens {
	t.Helper()
	s := &Tokens{login: login, life: time.Hour}
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: issuer}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	if s.cert, err = x509.CreateCertificate(rand.Reader, template, template, &s.key.PublicKey, s.key); err != nil {
		t.Fatal(err)
	}
	s.server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.server.Close)
	return s
}

// URL is the realm.
func (s *Tokens) URL() string { return s.server.URL + "/token" }

// Certificate is that of the key that signs, in PEM.
func (s *Tokens) Certificate() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert})
}

// Token is one for a scope, such as repository:NAME:pull,push.
func (s *Tokens) Token(scope string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token([]string{scope})
}

// leeway is how long docker-registry takes a token after its end.
const leeway = time.Minute

// Last says how long docker-registry takes the tokens that follow.
func (s *Tokens) Last(life time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life = life - leeway
}

// Asked are the requests so far.
func (s *Tokens) Asked() []Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Asked(nil), s.asked...)
}

func (s *Tokens) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, password, _ := r.BasicAuth()
	login := strings.TrimSuffix(user+":"+password, ":")
	s.asked = append(s.asked, Asked{Scopes: r.URL.Query()["scope"], Login: login})
	if s.login != "" && login != s.login {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]}`)
		return
	}
	fmt.Fprintf(w, `{"token": %q, "expires_in": 3600}`, s.token(r.URL.Query()["scope"]))
}

// token is a JSON Web Token for scopes.
func (s *Tokens) token(scopes []string) string {
	type access struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}
	var all []access
	for _, scope := range scopes {
		if part := strings.Split(scope, ":"); len(part) == 3 {
			all = append(all, access{part[0], part[1], strings.Split(part[2], ",")})
		}
	}
	b64 := base64.RawURLEncoding.EncodeToString
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return b64(text)
	}
	text := part(map[string]any{"typ": "JWT", "alg": "ES256", "x5c": []string{base64.StdEncoding.EncodeToString(s.cert)}}) + "." + part(map[string]any{
		"iss": issuer, "aud": service, "sub": "test", "jti": fmt.Sprint(len(s.asked)), "exp": time.Now().Add(s.life).Unix(), "nbf": time.Now().Add(-2 * time.Hour).Unix(), "iat": time.Now().Unix(), "access": all,
	})
	sum := sha256.Sum256([]byte(text))
	a, b, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		return ""
	}
	var signature [64]byte
	a.FillBytes(signature[:32])
	b.FillBytes(signature[32:])
	return text + "." + b64(signature[:])
}
