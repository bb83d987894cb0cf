// Tencent's official SDK for Node, driven by lines: {"action": ..., "params": ...} in, the answer or {"code": ..., "message": ...} out.
"use strict"

const readline = require("readline")
const { trtc } = require("tencentcloud-sdk-nodejs/tencentcloud/services/trtc")

const { ENDPOINT, METHOD, SECRET_ID, SECRET_KEY } = process.env
const client = new trtc.v20190722.Client({
  credential: { secretId: SECRET_ID, secretKey: SECRET_KEY },
  region: "ap-singapore",
  profile: { language: "en-US", httpProfile: { endpoint: ENDPOINT, reqMethod: METHOD } },
})

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { action, params } = JSON.parse(line)
    const answer = await client[action](params).catch((error) => ({ code: error.code, message: error.message }))
    process.stdout.write(JSON.stringify(answer) + "\n")
  }
}

main()
