package fetch

import (
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"testing"

	"netstage/fetch/faulty"
)

// serveTFTP serves content by plain RFC 1350 and ends each transfer silently
// after some blocks, unless most is 0. Names that begin with "no" are not
// found.
func serveTFTP(t *testing.T, address string, content []byte, most int) (host string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		buf := make([]byte, 2000)
		done := 0
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			switch {
			case buf[1] == 1 && strings.HasPrefix(string(buf[2:n]), "no"):
				_, _ = conn.WriteTo([]byte("\x00\x05\x00\x01no such file\x00"), from)
				continue
			case buf[1] == 1:
				done = 0
			case buf[1] == 4 && binary.BigEndian.Uint16(buf[2:]) == uint16(done+1):
				done++
			}
			if most > 0 && done >= most || done*512 > len(content) {
				continue
			}
			p := binary.BigEndian.AppendUint16([]byte{0, 3}, uint16(done+1))
			_, _ = conn.WriteTo(append(p, content[done*512:min(len(content), (done+1)*512)]...), from)
		}
	})
	t.Cleanup(func() {
		conn.Close()
		served.Wait()
	})
	return conn.LocalAddr().String()
}

// A TFTP server is a mirror like any other, but that it always begins at the
// first byte.
func TestTFTP(t *testing.T) {
	content := imageBytes(200_001)
	t.Run("verified", func(t *testing.T) {
		for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
			host := serveTFTP(t, address, content, 0)
			r, log := quick(t, content, "tftp://"+host+"/dir/x")
			if image := mustGet(t, r, content); image.Source != "tftp://"+host+"/dir/x" {
				t.Errorf("from %s", image.Source)
			}
			log.mustSay(t, ", verified")
		}
	})
	t.Run("wrong", func(t *testing.T) {
		host := serveTFTP(t, "127.0.0.1:0", content, 0)
		r, _ := quick(t, content, "tftp://"+host+"/x")
		r.SHA256 = sum([]byte("other"))
		mustFail(t, r, "mismatch")
	})
	t.Run("not found", func(t *testing.T) {
		host := serveTFTP(t, "127.0.0.1:0", content, 0)
		r, _ := quick(t, content, "tftp://"+host+"/nothing")
		if err := mustFail(t, r, "tftp"); !strings.Contains(err.Error(), "no such file for tftp://"+host+"/nothing") {
			t.Error(err)
		}
		good := serve(t, content)
		r, _ = quick(t, content, "tftp://"+host+"/nothing", good.URL("x"))
		mustGet(t, r, content)
	})
	t.Run("no name", func(t *testing.T) {
		r, _ := quick(t, content, "tftp://127.0.0.1/")
		mustFail(t, r, "bad-url")
	})
	t.Run("a stall moves to another mirror, which goes on", func(t *testing.T) {
		host := serveTFTP(t, "127.0.0.1:0", content, 200)
		good := serve(t, content)
		r, log := quick(t, content, "tftp://"+host+"/x", good.URL("x"))
		mustGet(t, r, content)
		log.mustSay(t, host+": stalled: ")
		if l := good.Log(); len(l) != 1 || l[0].Range != "bytes=102400-" {
			t.Errorf("%+v", l)
		}
	})
	t.Run("it takes over from a mirror that broke, from the start", func(t *testing.T) {
		host := serveTFTP(t, "127.0.0.1:0", content, 0)
		bad := serve(t, content, faulty.Behaviour{End: faulty.EndClose, Cut: 100_000}, faulty.Behaviour{Status: 404, Times: -1})
		r, log := quick(t, content, bad.URL("x"), "tftp://"+host+"/x")
		if image := mustGet(t, r, content); image.Stats.Restarts != 1 {
			t.Errorf("%+v", image.Stats)
		}
		log.mustSay(t, host+": starting over at 0/1 MiB: it sends no ranges")
	})
	t.Run("nobody there", func(t *testing.T) {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		host := conn.LocalAddr().String()
		conn.Close()
		good := serve(t, content)
		r, log := quick(t, content, "tftp://"+host+"/x", good.URL("x"))
		mustGet(t, r, content)
		log.mustSay(t, host+": connection refused")
	})
	t.Run("no redirect leads there", func(t *testing.T) {
		host := serveTFTP(t, "127.0.0.1:0", content, 0)
		s := serve(t, content, faulty.Behaviour{Location: "tftp://" + host + "/x", Times: -1})
		r, _ := quick(t, content, s.URL("x"))
		mustFail(t, r, "redirect")
	})
}
