package vouch

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"netstage/fetch/oci/peer"
)

// half is what comes of an image before its connection ends.
const half = 1 << 19

// breakOff sends half of a body, and ends the connection.
func breakOff(w http.ResponseWriter, content []byte) {
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	w.Write(content[:half])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// A token that docker-registry takes no more while the image comes is replaced,
// and the download goes on where it was; so it does where something before the
// registry makes another status of it, or takes the challenge away.
func TestTokenRunsOut(t *testing.T) {
	for name, turnedAway := range map[string]func(*http.Response){
		"as it is":    func(*http.Response) {},
		"by a 403":    func(resp *http.Response) { resp.StatusCode = http.StatusForbidden },
		"without how": func(resp *http.Response) { resp.Header.Del("WWW-Authenticate") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "image")
			tokens := peer.ServeTokens(t, "")
			r := peer.Start(t, peer.Options{Tokens: tokens})
			d := r.Push(t, "web", "1", w.layers()[1])
			tokens.Last(2 * time.Second)
			var old, resumed atomic.Value
			var refused atomic.Int32
			proxy := r.Proxy(t)
			proxy.ModifyResponse = func(resp *http.Response) error {
				if resp.StatusCode == http.StatusUnauthorized && resp.Request.Header.Get("Authorization") == old.Load() {
					refused.Add(1)
					turnedAway(resp)
				}
				return nil
			}
			s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
				token := q.Header.Get("Authorization")
				if strings.Contains(q.URL.Path, "/blobs/") && r.Takes(t, "web", token) {
					if old.CompareAndSwap(nil, token) {
						for r.Takes(t, "web", token) && q.Context().Err() == nil {
							time.Sleep(100 * time.Millisecond)
						}
						tokens.Last(time.Hour)
						breakOff(rw, w.content)
					}
					resumed.Store(q.Header.Get("Range"))
				}
				proxy.ServeHTTP(rw, q)
			}))
			t.Cleanup(s.Close)
			o, log := order(t)
			o.Images = artifacts(t, "oci+http://"+strings.TrimPrefix(s.URL, "http://")+"/web@"+d.Digest)
			i := w.mustGet(t, o)
			if i.Stats.Retries != 1 || refused.Load() != 1 || resumed.Load() != fmt.Sprintf("bytes=%d-", half) {
				t.Errorf("%d faults, %d times refused, resumed from %v\n%s", i.Stats.Retries, refused.Load(), resumed.Load(), log)
			}
		})
	}
}

// Where a registry leads to holds for minutes. Once it holds no more, the
// registry is asked for where to go now, also when what it says first is what
// it said before.
func TestRedirectRunsOut(t *testing.T) {
	w := newWorld(t, "image")
	r := peer.Start(t, peer.Options{})
	d := r.Push(t, "web", "1", w.layers()...)
	for _, status := range []int{http.StatusForbidden, http.StatusBadRequest, http.StatusUnauthorized, http.StatusGone} {
		for _, forGood := range []bool{false, true} {
			t.Run(fmt.Sprint(status, forGood), func(t *testing.T) {
				t.Parallel()
				var mu sync.Mutex
				var ranges []string // that the object store was asked for
				redirects := 0
				elsewhere := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, q *http.Request) {
					mu.Lock()
					ranges = append(ranges, q.Header.Get("Range"))
					first := len(ranges) == 1
					mu.Unlock()
					switch ticket := q.FormValue("X-Signature"); {
					case first:
						breakOff(rw, w.content)
					case forGood || ticket != "secret2":
						rw.WriteHeader(status)
					default:
						http.ServeContent(rw, q, "", time.Time{}, bytes.NewReader(w.content))
					}
				}))
				t.Cleanup(elsewhere.Close)
				host := front(t, r, func(rw http.ResponseWriter, q *http.Request) bool {
					if !strings.HasSuffix(q.URL.Path, peer.DigestOf(w.content)) {
						return false
					}
					mu.Lock()
					n := redirects / 2
					redirects++
					mu.Unlock()
					http.Redirect(rw, q, fmt.Sprintf("%s/x?X-Signature=secret%d", elsewhere.URL, n+1), http.StatusTemporaryRedirect)
					return true
				})
				o, log := order(t)
				o.Images = artifacts(t, "oci+http://"+host+"/web@"+d.Digest)
				store := strings.TrimPrefix(elsewhere.URL, "http://")
				if forGood {
					mustRefuse(t, o, fmt.Sprintf("http-%d", status), "by "+store)
				} else if i := w.mustGet(t, o); i.Stats.Retries != 2 || ranges[2] != fmt.Sprintf("bytes=%d-", half) {
					t.Errorf("%d faults, asked for %q\n%s", i.Stats.Retries, ranges, log)
				}
				if strings.Contains(log.String(), "secret") {
					t.Errorf("%s", log)
				}
				// Where another mirror has it, that one is asked.
				if forGood {
					o.Images = append(o.Images, artifacts(t, "oci+http://"+r.Host+"/web@"+d.Digest)...)
					w.mustGet(t, o)
				}
			})
		}
	}
}

// Where a registry sends machines on to, they have nothing to show.
func TestRedirectToAnotherHost(t *testing.T) {
	w := newWorld(t, "image")
	r := peer.Start(t, peer.Options{Login: "boot:secret"})
	d := r.Push(t, "web", "1", w.layers()...)
	elsewhere := w.serve(t)
	host := front(t, r, func(rw http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, peer.DigestOf(w.content)) || q.Header.Get("Authorization") == "" {
			return false
		}
		http.Redirect(rw, q, elsewhere.URL("store/x?signature=secret"), http.StatusTemporaryRedirect)
		return true
	})
	o, log := order(t)
	o.Images = artifacts(t, "oci+http://"+host+"/web@"+d.Digest)
	o.Credentials = credentials(t, map[string]string{"http://" + host: "boot:secret"})
	w.mustGet(t, o)
	l := elsewhere.Log()
	if len(l) == 0 || l[0].Auth != "" || strings.Contains(log.String(), "secret") {
		t.Errorf("%+v\n%s", l, log)
	}
}
