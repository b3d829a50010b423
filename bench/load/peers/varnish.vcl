# Varnish behind hitch: text is kept gzipped and sent so (it has no Brotli).
vcl 4.1;

backend origin {
    .host = "127.0.0.1";
    .port = "@ORIGIN_PORT@";
}

sub vcl_backend_response {
    if (beresp.http.Content-Type ~ "^text/") {
        set beresp.do_gzip = true;
    }
}

sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache-Status = "hit";
    } else {
        set resp.http.X-Cache-Status = "miss";
    }
}
