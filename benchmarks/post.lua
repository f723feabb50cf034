-- For wrk: posts a chat request of BODY_BYTES (environment) with `model` as its last key.
local content = string.rep("x", tonumber(os.getenv("BODY_BYTES")) - 70)
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer benchmark"
wrk.body = '{"messages":[{"role":"user","content":"' .. content .. '"}],"model":"m"}'
