package reporting

import (
	"math"
	"path/filepath"
	"time"

	"netstage/fetch"
	"netstage/stage1/report"
	"netstage/stage1/rundir"
)

// downloadFile says how far the download is, for the shell and for whoever
// looks at the machine: a Download.
const downloadFile = "/run/netstage/image.json"

// Download is how far the image, or a file that vouches for it, has come.
type Download = report.Download

func downloadOf(p fetch.Progress) Download {
	d := Download{
		What: p.What, Bytes: p.Bytes, Total: p.Total, Rate: int64(p.Rate), ETAMS: -1, Retries: p.Retries,
		TookMS: p.Elapsed.Milliseconds(), Mirrors: make([]report.Mirror, len(p.Mirrors)),
	}
	if p.ETA >= 0 {
		d.ETAMS = p.ETA.Milliseconds()
	}
	for i, m := range p.Mirrors {
		d.Mirrors[i] = report.Mirror{
			URL: m.URL, Bytes: m.Bytes, Rate: int64(m.Rate), Faults: m.Faults, Answer: m.Answer, Class: m.Class, Bad: m.Bad,
		}
	}
	return d
}

// pace is how often a download is told of: the file each second, the kernel
// log at every tenth of it and not more often than each ten seconds.
type pace struct {
	file, line time.Time
	tenth      int64
	retries    int
}

const (
	fileEvery = time.Second
	lineEvery = 10 * time.Second
)

// due tells where p is to be told of now.
func (c *pace) due(p fetch.Progress, now time.Time) (file, line bool) {
	if c.line.IsZero() || p.Bytes == 0 {
		c.line, c.tenth = now, 0
	}
	tenth := int64(math.MaxInt64)
	if p.Total > 0 {
		tenth = p.Bytes * 10 / p.Total
	}
	if now.Sub(c.line) >= lineEvery && tenth > c.tenth && p.Bytes != p.Total {
		c.line, line = now, true
		if p.Total > 0 {
			c.tenth = tenth
		}
	}
	if now.Sub(c.file) >= fileEvery || p.Retries != c.retries || p.Bytes == p.Total {
		c.file, c.retries, file = now, p.Retries, true
	}
	return file, line
}

// Progress returns what shows the progress of the downloads of one try.
func (r *Record) Progress(status func(string), alive func()) func(fetch.Progress) {
	var every pace
	told := false
	return func(p fetch.Progress) {
		alive()
		line := p.String()
		if r.Network != nil {
			if trouble := r.Network.Trouble(); trouble != "" {
				line = trouble + "; " + line
			}
		}
		status(line)
		r.download = downloadOf(p)
		now := time.Now()
		r.tellOfWaiting(now)
		file, due := every.due(p, now)
		if due {
			r.Log.Info(line)
		}
		if !file {
			return
		}
		if err := rundir.ReplaceJSON(filepath.Join(r.Root, downloadFile), r.download); err != nil && !told {
			r.Log.Warn("image: its progress can't be told", "err", err)
			told = true
		}
	}
}
