package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// maxRedirects is how many redirections in a row are followed.
const maxRedirects = 10

// refused is why a redirection is not followed.
type refused string

func (r refused) Error() string { return ErrRedirect.Error() + ": " + string(r) }
func (r refused) Unwrap() error { return ErrRedirect }

// failed is the error of a request that got no answer.
func failed(ctx context.Context, url string, err error) error {
	var r refused
	if errors.As(err, &r) {
		return fmt.Errorf("%s: %w", clip(url), r)
	}
	return passing(ctx, err)
}

// guarded returns a client that follows only so many redirections, none from
// HTTPS to something else, and none that carries credentials to another host.
// The client's own policy is asked as well.
func guarded(client *http.Client) *http.Client {
	if client == nil {
		client = http.DefaultClient
	}
	c := *client
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		first, last := via[0].URL, via[len(via)-1].URL
		if len(via) > maxRedirects {
			return refused("more than 10 in a row")
		}
		if last.Scheme == "https" && req.URL.Scheme != "https" {
			return refused("from HTTPS to " + clip(req.URL.Scheme))
		}
		if req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
			for _, name := range []string{"Authorization", "Cookie", "Www-Authenticate", "Proxy-Authorization"} {
				req.Header.Del(name)
			}
			// Without a referrer nothing of the first address travels either.
			req.Header.Del("Referer")
		}
		if client.CheckRedirect != nil {
			return client.CheckRedirect(req, via)
		}
		return nil
	}
	return &c
}
