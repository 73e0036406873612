package fetch

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"netstage/fetch/faulty"
	"netstage/fetch/pace"
)

// faultOf is one way in which a server may answer, chosen by two bytes. Each
// that makes the mirror useless says so.
func faultOf(kind, where byte, size int) (b faulty.Behaviour, useless bool) {
	cut := int64(size) * int64(where) / 256
	switch kind % 14 {
	case 0:
		b = faulty.Behaviour{End: faulty.EndClose, Cut: cut}
	case 1:
		b = faulty.Behaviour{End: faulty.EndReset, Cut: cut}
	case 2:
		b = faulty.Behaviour{End: faulty.EndClose, Cut: cut, NoLength: true}
	case 3:
		b = faulty.Behaviour{End: faulty.EndClose, Cut: cut, Chunked: true}
	case 4:
		b = faulty.Behaviour{Status: 503}
	case 5:
		b = faulty.Behaviour{NoRanges: true, End: faulty.EndReset, Cut: cut}
	case 6:
		b = faulty.Behaviour{ContentRange: "bytes 1-2/3"}
	case 7:
		b = faulty.Behaviour{ETag: `"other"`, End: faulty.EndClose, Cut: cut}
	case 8:
		b = faulty.Behaviour{NoValidators: true, IgnoreIf: true, End: faulty.EndReset, Cut: cut}
	case 9:
		b = faulty.Behaviour{Location: "/elsewhere"}
	case 10:
		b = faulty.Behaviour{End: faulty.EndStall, Cut: cut}
	case 11:
		b = faulty.Behaviour{NoLength: true, NoRanges: true}
	case 12:
		return faulty.Behaviour{Flip: []int64{cut}}, true
	case 13:
		return faulty.Behaviour{Encoding: "gzip"}, true
	}
	return b, false
}

// FuzzFaults has one or two mirrors answer by any story of faults before they
// are well again. Where a digest or a tree vouches for the image, it is whole
// in the end, unless each mirror did something that no retry mends; one stream
// or several make no difference.
func FuzzFaults(f *testing.F) {
	f.Add([]byte{0, 100, 1, 200}, []byte(nil), false, false)
	f.Add([]byte{2, 100, 2, 100, 11, 0}, []byte{5, 10, 7, 200}, true, false)
	f.Add([]byte{12, 200, 0, 50}, []byte{4, 0, 10, 128, 8, 30}, true, true)
	f.Add([]byte{12, 1}, []byte{0, 255, 12, 77}, false, false)
	f.Add([]byte{3, 250, 6, 0, 9, 0, 0, 9}, []byte{13, 0}, true, false)
	f.Add([]byte{1, 128, 0, 30, 7, 80}, []byte{12, 250}, false, true)
	f.Add([]byte{8, 128, 5, 200}, []byte(nil), true, true)
	small, large := imageBytes(512<<10), imageBytes(6<<20)
	f.Fuzz(func(t *testing.T, first, second []byte, tree, parallel bool) {
		content, rate := small, int64(0)
		if parallel {
			content, rate = large, 60<<20
		}
		var urls []string
		hopeless := true
		for i, story := range [][]byte{first, second} {
			if i > 0 && len(story) == 0 {
				continue
			}
			var script []faulty.Behaviour
			useless := false
			for i := 0; i+1 < len(story) && i < 16; i += 2 {
				b, bad := faultOf(story[i], story[i+1], len(content))
				b.Rate = rate
				script, useless = append(script, b), useless || bad
			}
			script = append(script, faulty.Behaviour{Rate: rate, Times: -1})
			urls, hopeless = append(urls, serve(t, content, script...).URL("x")), hopeless && useless
		}
		r, log := quick(t, content, urls...)
		if tree {
			r, log = verityRequest(t, content, urls...)
		}
		if parallel {
			r.Parallel = pace.Parallel{Streams: 4, Gain: 0.01, Measure: 5 * time.Millisecond}
		}
		image, err := Get(soon(t), r)
		var failed *Error
		switch {
		case err == nil:
			defer image.Close()
			if got, err := io.ReadAll(image.File); err != nil || !bytes.Equal(got, content) {
				t.Errorf("the image differs from what was served: %d bytes, %v\n%s", len(got), err, log)
			}
		case !errors.As(err, &failed) || !failed.Permanent() || !hopeless:
			t.Errorf("%v\n%s", err, log)
		}
	})
}
