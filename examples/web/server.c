/* A small web server: it answers every request with page.html and counts the visits. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *greeting = "Hello from a camada container";

static char *read_file(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f) {
    perror(path);
    exit(1);
  }
  char *text = calloc(1, 65536);
  if (fread(text, 1, 65535, f) == 0) {
    fprintf(stderr, "%s is empty\n", path);
    exit(1);
  }
  fclose(f);
  return text;
}

static void stop(int signal) {
  (void)signal;
  _exit(0);
}

/* Reads up to the empty line that ends a request's header; 0 when there is none. */
static int read_request(int client) {
  char request[4096];
  size_t have = 0;
  while (have < sizeof request - 1) {
    ssize_t n = read(client, request + have, sizeof request - 1 - have);
    if (n <= 0)
      return 0;
    have += n;
    request[have] = 0;
    if (strstr(request, "\r\n\r\n"))
      return 1;
  }
  return 0;
}

int main(int argc, char **argv) {
  int port = argc > 1 ? atoi(argv[1]) : 8080, visits = 0, on = 1;
  char *page = read_file("/srv/page.html");
  signal(SIGTERM, stop);
  signal(SIGINT, stop);
  signal(SIGPIPE, SIG_IGN);
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&addr, sizeof addr) || listen(listener, 16)) {
    perror("listen");
    return 1;
  }
  printf("listening on port %d\n", port);
  fflush(stdout);
  for (;;) {
    char body[66000];
    int client = accept(listener, NULL, NULL);
    if (client < 0)
      continue;
    if (!read_request(client)) {
      close(client);
      continue;
    }
    int n = snprintf(body, sizeof body, page, greeting, ++visits);
    dprintf(client, "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", n, body);
    close(client);
    printf("visit %d\n", visits);
    fflush(stdout);
  }
}
