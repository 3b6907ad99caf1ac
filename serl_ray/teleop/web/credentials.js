// The secret and the role that come in the address's fragment, which no browser sends to a server.

const KEY = "serl-ray-credentials";

/** Takes them out of the visible address; a reload finds them in the tab's own storage. */
export function takeCredentials() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (given.get("secret")) {
    const found = { secret: given.get("secret"), role: given.get("role") ?? "viewer" };
    sessionStorage.setItem(KEY, JSON.stringify(found));
    history.replaceState(null, "", location.pathname + location.search);
  }
  return JSON.parse(sessionStorage.getItem(KEY) ?? "null");
}

/** Another address pasted into the same tab changes the fragment alone, without loading the page. */
addEventListener("hashchange", () => {
  if (takeCredentials()) {
    location.reload();
  }
});
