package modindex

// Match says whether an alias pattern matches a device's modalias as
// fnmatch(3) without flags does: '*' (also over '/'), '?', '[a-c]', '[!a]' and
// backslashes; '-' and '_' are the same letter outside brackets. It takes
// len(pattern)*len(s) steps at most.
func Match(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		if p < len(pattern) {
			if pattern[p] == '*' {
				star, mark = p, i
				p++
				continue
			}
			if n := matchOne(pattern[p:], s[i]); n > 0 {
				p += n
				i++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne returns how many bytes of the pattern matched c, 0 for none.
func matchOne(pattern string, c byte) int {
	switch pattern[0] {
	case '?':
		return 1
	case '[':
		return matchSet(pattern, c)
	case '\\':
		if len(pattern) > 1 {
			if same(pattern[1], c) {
				return 2
			}
			return 0
		}
	}
	if same(pattern[0], c) {
		return 1
	}
	return 0
}

func same(a, b byte) bool { return a == b || fold(a) == fold(b) }

// fold makes '-' and '_' one letter.
func fold(c byte) byte {
	if c == '-' {
		return '_'
	}
	return c
}

// matchSet matches a bracket expression; an unclosed one is a plain '['.
func matchSet(pattern string, c byte) int {
	i := 1
	negated := false
	if i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^') {
		negated = true
		i++
	}
	found := false
	for first := true; i < len(pattern); first = false {
		lo := pattern[i]
		if lo == ']' && !first {
			if found != negated {
				return i + 1
			}
			return 0
		}
		if lo == '\\' && i+1 < len(pattern) {
			i++
			lo = pattern[i]
		}
		hi := lo
		if i+2 < len(pattern) && pattern[i+1] == '-' && pattern[i+2] != ']' {
			hi = pattern[i+2]
			i += 2
			if hi == '\\' && i+1 < len(pattern) {
				i++
				hi = pattern[i]
			}
		}
		if lo <= c && c <= hi {
			found = true
		}
		i++
	}
	if c == '[' {
		return 1
	}
	return 0
}
