package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clipsurgery/clipsurgery/internal/option"
)

// Errors of [Fetch], besides those of the file system and the network.
var (
	// ErrName reports a name that is neither one of [Names] nor that of a
	// repository.
	ErrName = errors.New("unknown name")
	// ErrChecksum reports a file whose bytes or length are not the published
	// ones. What was downloaded is deleted.
	ErrChecksum = errors.New("not the published file")
	// ErrTooLarge reports a file, or a list of files, above the limit of
	// [MaxBytes].
	ErrTooLarge = errors.New("too large")
	// ErrRedirect reports a redirection that is not followed: from HTTPS to
	// something else, or the eleventh in a row.
	ErrRedirect = errors.New("redirection refused")
	// ErrOffline reports a file that is not in the cache, under [Offline]. Such
	// errors are [fs.ErrNotExist] as well.
	ErrOffline = fmt.Errorf("not in the cache: %w", fs.ErrNotExist)
)

// Option is an option of [Fetch]. Of equal options the last counts.
type Option interface{ fetch(*fetcher) error }

type fetchOption func(*fetcher)

func (f fetchOption) fetch(o *fetcher) error { f(o); return nil }

// Dir sets the cache, which by default is the folder clipsurgery in
// [os.UserCacheDir].
func Dir(path string) Option { return fetchOption(func(f *fetcher) { f.dir = path }) }

// Client sets the HTTP client. The default is [http.DefaultClient], which uses
// the proxy that HTTPS_PROXY names. The client's transport sees every request,
// also those to hosts that the Hub redirects to, so tokens belong in [Token],
// not in the client.
func Client(c *http.Client) Option { return fetchOption(func(f *fetcher) { f.client = c }) }

// Offline takes files from the cache only; others are [ErrOffline].
func Offline() Option { return fetchOption(func(f *fetcher) { f.offline = true }) }

// Token sends a Hugging Face token, for repositories that ask for one. Only
// huggingface.co gets it, over HTTPS, and never a host that it redirects to.
// Nothing is read from the environment or from files.
func Token(token string) Option { return fetchOption(func(f *fetcher) { f.token = token }) }

// MaxBytes bounds the size of each file: a larger one is [ErrTooLarge], and no
// more than n bytes of it are written. By default the bound is the size that is
// known beforehand, up to 64 GiB, or 2 GiB where no size is known, which is
// more than any of [Names] has.
func MaxBytes(n int64) Option {
	return fetchOption(func(f *fetcher) { f.download.most, f.download.mostOf = n, n })
}

// Revision chooses a branch, tag or commit of a Hugging Face repository, by
// default main. A commit that is in the cache is not requested again. If the
// Hub cannot be reached, a branch stands for the commit that it was at the last
// call.
func Revision(name string) Option { return fetchOption(func(f *fetcher) { f.revision = name }) }

// WithProgress calls report now and then with the bytes received and the bytes
// expected, -1 if unknown. It is not called for files in the cache. A nil
// report means no progress.
func WithProgress(report func(done, total int)) Option {
	return fetchOption(func(f *fetcher) { f.report = report })
}

// fetcher is one call of Fetch.
type fetcher struct {
	dir      string
	client   *http.Client
	offline  bool
	revision string
	token    string
	report   func(done, total int)

	download downloader
}

// remote is a file to fetch.
type remote struct {
	url    string
	size   int64  // -1: not known
	digest string // in hexadecimal
	git    bool   // the digest is Git's of a blob, not SHA-256
	token  string // for its host
}

// published are the checkpoints that have names of their own.
//
// OpenAI's are in openai/CLIP clip/clip.py (d05afc4), Meta's in
// facebookresearch/segment-anything README.md, MobileSAM's in
// ChaoningZhang/MobileSAM weights/ (f706ad9), SAM 2's in facebookresearch/sam2
// checkpoints/download_ckpts.sh. The digests that the URLs lack are those of
// computational-cell-analytics/micro-sam micro_sam/util.py.
func published() map[string]remote {
	openAI := func(file string) remote {
		return remote{url: "https://openaipublic.azureedge.net/clip/models/" + file, size: -1, digest: path.Dir(file)}
	}
	meta := func(file string, size int64, digest string) remote {
		return remote{url: "https://dl.fbaipublicfiles.com/segment_anything/" + file, size: size, digest: digest}
	}
	meta2 := func(file string, size int64, digest string) remote {
		return remote{url: "https://dl.fbaipublicfiles.com/segment_anything_2/" + file, size: size, digest: digest}
	}
	return map[string]remote{
		"RN50":                   openAI("afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762/RN50.pt"),
		"RN101":                  openAI("8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599/RN101.pt"),
		"RN50x4":                 openAI("7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd/RN50x4.pt"),
		"RN50x16":                openAI("52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa/RN50x16.pt"),
		"RN50x64":                openAI("be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c/RN50x64.pt"),
		"ViT-B/32":               openAI("40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt"),
		"ViT-B/16":               openAI("5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f/ViT-B-16.pt"),
		"ViT-L/14":               openAI("b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836/ViT-L-14.pt"),
		"ViT-L/14@336px":         openAI("3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02/ViT-L-14-336px.pt"),
		"sam_vit_b":              meta("sam_vit_b_01ec64.pth", 375042383, "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"),
		"sam_vit_l":              meta("sam_vit_l_0b3195.pth", 1249524607, "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622"),
		"sam_vit_h":              meta("sam_vit_h_4b8939.pth", 2564550879, "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"),
		"sam2_hiera_tiny":        meta2("072824/sam2_hiera_tiny.pt", 155906050, "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125"),
		"sam2_hiera_small":       meta2("072824/sam2_hiera_small.pt", -1, "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3"),
		"sam2_hiera_base_plus":   meta2("072824/sam2_hiera_base_plus.pt", -1, "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071"),
		"sam2_hiera_large":       meta2("072824/sam2_hiera_large.pt", -1, "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b"),
		"sam2.1_hiera_tiny":      meta2("092824/sam2.1_hiera_tiny.pt", 156008466, "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"),
		"sam2.1_hiera_small":     meta2("092824/sam2.1_hiera_small.pt", -1, "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38"),
		"sam2.1_hiera_base_plus": meta2("092824/sam2.1_hiera_base_plus.pt", -1, "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5"),
		"sam2.1_hiera_large":     meta2("092824/sam2.1_hiera_large.pt", -1, "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318"),
		"mobile_sam": {
			url:    "https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/f706ad9c4eb7f219c00d9050e46328518ffb65d2/weights/mobile_sam.pt",
			size:   40728226,
			digest: "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
		},
	}
}

// Names returns the names that [Fetch] knows beside those of Hugging Face
// repositories, sorted.
func Names() []string { return slices.Sorted(maps.Keys(published())) }

// Fetch returns the path of a checkpoint in the cache, after downloading it if
// necessary. The path is one that [vit.Open], [sam.Open] and [weights.Open]
// take.
//
// A name is one of [Names] ("ViT-B/16", "sam_vit_h") or a repository of the
// Hugging Face Hub, "openai/clip-vit-base-patch16", of which the weights and
// the configuration are fetched, and their directory is returned.
//
// The errors are [ErrName], [ErrChecksum], [ErrTooLarge], [ErrRedirect],
// [ErrOffline], ctx's, and those of the network and the file system; a file that the server does not have is
// [fs.ErrNotExist].
//
// [vit.Open]: https://pkg.go.dev/github.com/clipsurgery/clipsurgery/vit#Open
// [sam.Open]: https://pkg.go.dev/github.com/clipsurgery/clipsurgery/sam#Open
// [weights.Open]: https://pkg.go.dev/github.com/clipsurgery/clipsurgery/weights#Open
func Fetch(ctx context.Context, name string, opts ...Option) (string, error) {
	f := fetcher{client: http.DefaultClient, revision: "main", report: func(int, int) {}, download: newDownloader()}
	if err := option.Apply(&f, opts, Option.fetch); err != nil {
		return "", err
	}
	if f.dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("hub: %w", err)
		}
		f.dir = filepath.Join(cache, "clipsurgery")
	}
	if f.report == nil {
		f.report = func(int, int) {}
	}
	f.client = guarded(f.client)
	f.download.client = f.client
	at, err := f.fetch(ctx, name)
	if err != nil {
		return "", fmt.Errorf("hub: %s: %w", clip(name), err)
	}
	return at, nil
}

func (f *fetcher) fetch(ctx context.Context, name string) (string, error) {
	r, ok := published()[name]
	if !ok {
		return f.repository(ctx, name)
	}
	// The digest makes the names of two files differ that are called the same.
	at := filepath.Join(f.dir, r.digest[:12], path.Base(r.url))
	return at, f.file(ctx, r, at, 0, r.size)
}

// file fetches one file, unless the cache has it. before is what was fetched of
// all that is wanted, total its size.
func (f *fetcher) file(ctx context.Context, r remote, at string, before, total int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch err := r.check(ctx, at); {
	case err == nil:
		return nil
	case f.offline && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", at, ErrOffline)
	case f.offline && errors.Is(err, ErrChecksum):
		return fmt.Errorf("%w: %w", ErrOffline, err)
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrChecksum):
		return err
	}
	return f.download.get(ctx, r, at, func(done, size int64) {
		if total >= 0 {
			done, size = before+done, total
		}
		f.report(int(min(done, math.MaxInt)), int(min(size, math.MaxInt)))
	})
}

// IsName reports whether a string looks like a name for [Fetch]: one of
// [Names], or "owner/name".
func IsName(s string) bool {
	_, ok := published()[s]
	return ok || isRepository(s)
}

// isRepository reports whether a name is formed as those of Hugging Face's
// repositories are.
func isRepository(name string) bool {
	owner, repo, ok := strings.Cut(name, "/")
	return ok && isWord(owner) && isWord(repo)
}

// isWord reports whether s is one part of a repository's name, or of a
// revision's: no path, no query.
func isWord(s string) bool {
	return s != "" && s[0] != '.' && s[0] != '-' && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '.' || r == '-' || r == '_')
	}) < 0
}
